"""Relighting without weights: depth -> normals -> spherical harmonics. No pixel moves."""
