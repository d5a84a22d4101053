// SPDX-License-Identifier: Apache-2.0
#include "sdk/check/elf_file.hpp"

#include <elf.h>

#include <algorithm>
#include <cstring>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <string_view>

namespace callgate::check {
namespace {

#if defined(__x86_64__)
constexpr std::uint16_t our_machine = EM_X86_64;
#else
constexpr std::uint16_t our_machine = EM_AARCH64;
#endif
constexpr std::uint64_t max_entries = 1'000'000;

[[noreturn]] void broken(const char* what) { throw std::runtime_error(std::string("the file is damaged: ") + what); }

template <class T>
T at(const std::string& file, std::uint64_t offset) {
    if (offset > file.size() || file.size() - offset < sizeof(T)) broken("an offset points outside of it");
    T out;
    std::memcpy(&out, file.data() + offset, sizeof out);
    return out;
}

std::string text_at(const std::string& file, std::uint64_t table, std::uint64_t size, std::uint64_t index) {
    if (index >= size || table > file.size() || file.size() - table < size) broken("a name lies outside of its table");
    const char* begin = file.data() + table + index;
    return {begin, ::strnlen(begin, size - index)};
}

void find_note(elf_file& out, std::uint64_t offset, std::uint64_t size) {
    std::uint64_t pos = offset;
    const auto round = [](std::uint64_t n) { return (n + 3) & ~std::uint64_t{3}; };
    while (pos < offset + size && offset + size - pos >= sizeof(Elf64_Nhdr)) {
        const auto head = at<Elf64_Nhdr>(out.bytes, pos);
        const auto name_at = pos + sizeof head;
        const auto desc_at = name_at + round(head.n_namesz);
        if (desc_at > out.bytes.size() || out.bytes.size() - desc_at < head.n_descsz) return;
        const std::string_view name(out.bytes.data() + name_at, head.n_namesz);
        if (head.n_type == CG_NOTE_TYPE && name == std::string_view(CG_NOTE_NAME, sizeof CG_NOTE_NAME)) {
            cg_note_desc desc{};
            std::memcpy(&desc, out.bytes.data() + desc_at, std::min<std::size_t>(head.n_descsz, sizeof desc));
            out.note = desc;
            return;
        }
        pos = desc_at + round(head.n_descsz);
    }
}

void read_symbols(elf_file& out, const Elf64_Shdr& symbols, const Elf64_Shdr& strings) {
    const auto count = std::min<std::uint64_t>(symbols.sh_size / sizeof(Elf64_Sym), max_entries);
    for (std::uint64_t i = 1; i < count; ++i) {
        const auto s = at<Elf64_Sym>(out.bytes, symbols.sh_offset + i * sizeof(Elf64_Sym));
        const auto binding = ELF64_ST_BIND(s.st_info);
        if (binding == STB_LOCAL) continue;
        out.symbols.push_back({text_at(out.bytes, strings.sh_offset, strings.sh_size, s.st_name), s.st_shndx != SHN_UNDEF, binding == STB_GNU_UNIQUE});
    }
}

void read_dynamic(elf_file& out, const Elf64_Shdr& dynamic, const Elf64_Shdr& strings) {
    const auto count = std::min<std::uint64_t>(dynamic.sh_size / sizeof(Elf64_Dyn), max_entries);
    for (std::uint64_t i = 0; i < count; ++i) {
        const auto d = at<Elf64_Dyn>(out.bytes, dynamic.sh_offset + i * sizeof(Elf64_Dyn));
        if (d.d_tag == DT_NULL) break;
        if (d.d_tag == DT_NEEDED) out.needed.push_back(text_at(out.bytes, strings.sh_offset, strings.sh_size, d.d_un.d_val));
        if (d.d_tag == DT_TEXTREL || (d.d_tag == DT_FLAGS && (d.d_un.d_val & DF_TEXTREL) != 0)) out.text_relocations = true;
    }
}

}  // namespace

elf_file read_elf(const std::string& path) {
    std::ifstream in(path, std::ios::binary);
    if (!in) throw std::runtime_error("the file cannot be read");
    return parse_elf({std::istreambuf_iterator<char>(in), {}});
}

elf_file parse_elf(std::string bytes) {
    elf_file out;
    out.bytes = std::move(bytes);
    if (out.bytes.size() < sizeof(Elf64_Ehdr) || std::memcmp(out.bytes.data(), ELFMAG, SELFMAG) != 0) throw std::runtime_error("it is not an ELF file");
    const auto head = at<Elf64_Ehdr>(out.bytes, 0);
    if (head.e_ident[EI_CLASS] != ELFCLASS64 || head.e_ident[EI_DATA] != ELFDATA2LSB || head.e_machine != our_machine)
        throw std::runtime_error("it is built for another machine (ELF machine " + std::to_string(head.e_machine) + ")");
    if (head.e_type != ET_DYN) throw std::runtime_error("it is not a shared object: build it as a module (-shared)");
    bool stack_said = false;
    for (std::uint64_t i = 0; i < head.e_phnum; ++i) {
        const auto p = at<Elf64_Phdr>(out.bytes, head.e_phoff + i * sizeof(Elf64_Phdr));
        if (p.p_type == PT_GNU_STACK) {
            stack_said = true;
            out.executable_stack = (p.p_flags & PF_X) != 0;
        }
        if (p.p_type == PT_NOTE && !out.note) find_note(out, p.p_offset, p.p_filesz);
    }
    // Without the header the loader assumes the worst.
    if (!stack_said) out.executable_stack = true;
    std::vector<Elf64_Shdr> sections;
    for (std::uint64_t i = 0; i < head.e_shnum; ++i) sections.push_back(at<Elf64_Shdr>(out.bytes, head.e_shoff + i * sizeof(Elf64_Shdr)));
    for (const auto& s : sections) {
        if (s.sh_type == SHT_NOTE && !out.note) find_note(out, s.sh_offset, s.sh_size);
        if ((s.sh_type == SHT_DYNSYM || s.sh_type == SHT_DYNAMIC) && s.sh_link >= sections.size()) broken("a table names a section that is not there");
        if (s.sh_type == SHT_DYNSYM) read_symbols(out, s, sections[s.sh_link]);
        if (s.sh_type == SHT_DYNAMIC) read_dynamic(out, s, sections[s.sh_link]);
    }
    if (sections.empty()) throw std::runtime_error("its section headers were stripped away (sstrip?): the symbols cannot be judged; strip with `strip` only");
    return out;
}

}  // namespace callgate::check
