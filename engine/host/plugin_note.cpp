// SPDX-License-Identifier: Apache-2.0
#include "engine/host/plugin_note.hpp"

#include <callgate/abi/entry.h>
#include <elf.h>

#include <algorithm>
#include <cstring>
#include <optional>
#include <string_view>

namespace callgate::host {
namespace {

#if defined(__x86_64__)
constexpr std::uint16_t our_machine = EM_X86_64;
constexpr std::string_view our_machine_name = "x86-64";
#elif defined(__aarch64__)
constexpr std::uint16_t our_machine = EM_AARCH64;
constexpr std::string_view our_machine_name = "aarch64";
#else
#error "callgate runs on x86-64 and arm64"
#endif
constexpr std::size_t max_headers = 4096;

using bytes = std::span<const std::uint8_t>;

// Offsets come from the file: every access goes through here.
template <class T>
std::optional<T> at(bytes file, std::uint64_t offset) {
    if (offset > file.size() || file.size() - offset < sizeof(T)) return std::nullopt;
    T out;
    std::memcpy(&out, file.data() + offset, sizeof(T));
    return out;
}

std::optional<bytes> range(bytes file, std::uint64_t offset, std::uint64_t size) {
    if (offset > file.size() || file.size() - offset < size) return std::nullopt;
    return file.subspan(static_cast<std::size_t>(offset), static_cast<std::size_t>(size));
}

constexpr std::uint64_t round_up_4(std::uint64_t n) { return (n + 3) & ~std::uint64_t{3}; }

std::optional<plugin_note> find_in_notes(bytes notes) {
    std::uint64_t at_byte = 0;
    while (const auto header = at<Elf64_Nhdr>(notes, at_byte)) {
        const std::uint64_t name_at = at_byte + sizeof(Elf64_Nhdr);
        const std::uint64_t desc_at = name_at + round_up_4(header->n_namesz);
        const auto name = range(notes, name_at, header->n_namesz);
        const auto desc = range(notes, desc_at, header->n_descsz);
        if (!name || !desc) return std::nullopt;
        const std::string_view owner(reinterpret_cast<const char*>(name->data()), name->size());
        if (header->n_type == CG_NOTE_TYPE && owner == std::string_view(CG_NOTE_NAME, sizeof CG_NOTE_NAME)) {
            // Older plugins have a shorter descriptor, newer ones a longer one; the first number is always there.
            if (desc->size() < sizeof(std::uint32_t)) return std::nullopt;
            cg_note_desc d{};
            std::memcpy(&d, desc->data(), std::min(desc->size(), sizeof d));
            plugin_note out{d.abi_major, d.abi_minor_built, d.abi_minor_needed, d.kinds, {}};
            out.plugin_id.assign(d.plugin_id, ::strnlen(d.plugin_id, sizeof d.plugin_id));
            return out;
        }
        at_byte = desc_at + round_up_4(header->n_descsz);
    }
    return std::nullopt;
}

std::optional<plugin_note> find_in_segments(bytes file, const Elf64_Ehdr& elf) {
    if (elf.e_phentsize != sizeof(Elf64_Phdr)) return std::nullopt;
    for (std::size_t i = 0; i < elf.e_phnum && i < max_headers; ++i) {
        // e_phoff near 2^64 may wrap here; at() then reads another place of the file, never outside of it.
        const auto segment = at<Elf64_Phdr>(file, elf.e_phoff + i * sizeof(Elf64_Phdr));
        if (!segment) return std::nullopt;
        if (segment->p_type != PT_NOTE) continue;
        if (const auto notes = range(file, segment->p_offset, segment->p_filesz))
            if (auto found = find_in_notes(*notes)) return found;
    }
    return std::nullopt;
}

std::optional<plugin_note> find_in_sections(bytes file, const Elf64_Ehdr& elf) {
    if (elf.e_shentsize != sizeof(Elf64_Shdr) || elf.e_shstrndx >= elf.e_shnum) return std::nullopt;
    const auto names_header = at<Elf64_Shdr>(file, elf.e_shoff + std::uint64_t{elf.e_shstrndx} * sizeof(Elf64_Shdr));
    if (!names_header) return std::nullopt;
    const auto names = range(file, names_header->sh_offset, names_header->sh_size);
    if (!names) return std::nullopt;
    constexpr std::string_view wanted(".note.callgate\0", 15);
    for (std::size_t i = 0; i < elf.e_shnum && i < max_headers; ++i) {
        const auto section = at<Elf64_Shdr>(file, elf.e_shoff + i * sizeof(Elf64_Shdr));
        if (!section) return std::nullopt;
        if (section->sh_type == SHT_NOBITS) continue;
        const auto name = range(*names, section->sh_name, wanted.size());
        if (!name || std::memcmp(name->data(), wanted.data(), wanted.size()) != 0) continue;
        if (const auto notes = range(file, section->sh_offset, section->sh_size)) return find_in_notes(*notes);
    }
    return std::nullopt;
}

}  // namespace

result<plugin_note> read_plugin_note(std::span<const std::uint8_t> file) {
    const auto elf = at<Elf64_Ehdr>(file, 0);
    if (!elf || std::memcmp(elf->e_ident, ELFMAG, SELFMAG) != 0)
        return make_error(errc::abi, "is not an ELF shared object");
    if (elf->e_ident[EI_CLASS] != ELFCLASS64 || elf->e_ident[EI_DATA] != ELFDATA2LSB || elf->e_machine != our_machine)
        return make_error(errc::abi, "is built for another machine (ELF machine " + std::to_string(elf->e_machine) +
                                         "); this callgate runs on " + std::string(our_machine_name));
    if (elf->e_type != ET_DYN) return make_error(errc::abi, "is not a shared object (ELF type " + std::to_string(elf->e_type) + ")");
    if (auto found = find_in_segments(file, *elf)) return *found;
    if (auto found = find_in_sections(file, *elf)) return *found;
    return make_error(errc::abi, "has no .note.callgate: it is not a callgate plugin, or its source lacks CG_PLUGIN_NOTE");
}

result<void> check_abi(std::uint32_t abi_major, std::uint32_t abi_minor_needed) {
    const std::string ours = std::to_string(CG_ABI_MAJOR) + "." + std::to_string(CG_ABI_MINOR);
    if (abi_major != CG_ABI_MAJOR)
        return make_error(errc::abi, "is built for plugin ABI " + std::to_string(abi_major) + ", this callgate speaks ABI " + ours +
                                         "; install the plugin's build for ABI " + std::to_string(CG_ABI_MAJOR));
    if (abi_minor_needed > CG_ABI_MINOR)
        return make_error(errc::abi, "needs plugin ABI " + std::to_string(abi_major) + "." + std::to_string(abi_minor_needed) +
                                         ", this callgate speaks ABI " + ours + "; upgrade callgate or install an older build of the plugin");
    return {};
}

}  // namespace callgate::host
