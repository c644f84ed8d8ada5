"""Relighting without weights: depth -> normals -> spherical harmonics. Not one pixel moves."""
