# The project on a CPU, with its demo made while the image is built:
#
#     docker build -t acusim-augment .
#     docker run --rm -v "$PWD/demo:/copy" acusim-augment cp -r demo/. /copy
#     docker run --rm -v ACUSIM:/data:ro -v OUT:/out acusim-augment \
#         .venv/bin/python controller/controller.py --batch --engine relight --dataset /data --output /out
#
# On NVIDIA GPUs, with training and diffusion (run it with --gpus all):
#
#     docker build -t acusim-augment:gpu --build-arg BASE=nvidia/cuda:13.0.1-base-ubuntu24.04 --build-arg LEVEL=install .
ARG BASE=debian:bookworm-slim
FROM ${BASE}
ARG LEVEL=core

# libgl1 and libglib2.0-0: OpenCV loads them.
RUN apt-get update \
 && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
        ca-certificates make python3 python3-venv libgl1 libglib2.0-0 \
 && rm -rf /var/lib/apt/lists/*

WORKDIR /acusim-augment
# What is installed changes less often than the code: a layer of its own.
COPY Makefile requirements*.txt ./
COPY tools/environment.py tools/
RUN make ${LEVEL}

COPY . .
RUN make demo
CMD [".venv/bin/python", "controller/controller.py", "--help"]
