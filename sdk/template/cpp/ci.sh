#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# What a CI job runs. Needs g++, cmake, make and callgate's SDK: its bin folder in PATH or its prefix in CMAKE_PREFIX_PATH.
set -eu
cd "$(dirname "$0")"
build=${1:-build}
cmake -B "$build"
cmake --build "$build"
ctest --test-dir "$build" --output-on-failure
