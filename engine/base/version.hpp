// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <string_view>

namespace callgate {
/// Set by CMake from project(VERSION).
#ifndef CALLGATE_VERSION
#define CALLGATE_VERSION "0.0.0"
#endif
inline constexpr std::string_view version = CALLGATE_VERSION;
}  // namespace callgate
