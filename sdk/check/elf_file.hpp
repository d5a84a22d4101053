// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <callgate/abi/entry.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

/// What stands in a plugin file, read without running anything of it. x86-64 and arm64, little-endian.
namespace callgate::check {

struct elf_symbol {
    std::string name;
    bool defined = false;
    bool unique = false; ///< STB_GNU_UNIQUE
};

struct elf_file {
    std::vector<std::string> needed;
    std::vector<elf_symbol> symbols; ///< dynamic ones
    bool text_relocations = false;
    bool executable_stack = false;
    std::optional<cg_note_desc> note;
    std::string bytes;
};

/// Throws std::runtime_error that says what is wrong with the file. Every offset of the file is checked.
[[nodiscard]] elf_file read_elf(const std::string& path);
[[nodiscard]] elf_file parse_elf(std::string bytes);

}  // namespace callgate::check
