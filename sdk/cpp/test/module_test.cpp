// SPDX-License-Identifier: Apache-2.0
// The built module, seen from outside: what it exports, its note, its manifest.
#include <callgate/sdk/testing/driver.hpp>
#include <dlfcn.h>
#include <elf.h>
#include <fstream>
#include <gtest/gtest.h>
#include <iterator>

namespace {

using namespace callgate::sdk;

std::string file() {
    std::ifstream in(CALLGATE_PROBE_PLUGIN, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
}

template <class T>
T read_at(const std::string& image, std::size_t offset) {
    T t;
    if (offset + sizeof t > image.size()) throw std::out_of_range("ELF image");
    std::memcpy(&t, image.data() + offset, sizeof t);
    return t;
}

std::vector<std::pair<std::string, Elf64_Shdr>> sections(const std::string& image) {
    const auto head = read_at<Elf64_Ehdr>(image, 0);
    const auto names = read_at<Elf64_Shdr>(image, head.e_shoff + std::size_t{head.e_shstrndx} * head.e_shentsize);
    std::vector<std::pair<std::string, Elf64_Shdr>> out;
    for (std::size_t i = 0; i < head.e_shnum; ++i) {
        const auto s = read_at<Elf64_Shdr>(image, head.e_shoff + i * head.e_shentsize);
        out.emplace_back(image.c_str() + names.sh_offset + s.sh_name, s);
    }
    return out;
}

TEST(module, exports_the_entry_and_nothing_else) {
    const auto image = file();
    const auto all = sections(image);
    Elf64_Shdr symbols{}, strings{};
    for (const auto& [name, s] : all) {
        if (name == ".dynsym") symbols = s;
        if (name == ".dynstr") strings = s;
    }
    std::vector<std::string> exported;
    for (std::size_t at = sizeof(Elf64_Sym); at < symbols.sh_size; at += sizeof(Elf64_Sym)) {
        const auto sym = read_at<Elf64_Sym>(image, symbols.sh_offset + at);
        if (sym.st_shndx == SHN_UNDEF) continue;
        EXPECT_NE(ELF64_ST_BIND(sym.st_info), STB_GNU_UNIQUE);
        exported.emplace_back(image.c_str() + strings.sh_offset + sym.st_name);
    }
    EXPECT_EQ(exported, std::vector<std::string>{CG_ENTRY_SYMBOL});
}

TEST(module, carries_the_note_that_is_read_before_loading) {
    const auto image = file();
    for (const auto& [name, s] : sections(image)) {
        if (name != ".note.callgate") continue;
        EXPECT_EQ(s.sh_type, static_cast<Elf64_Word>(SHT_NOTE));
        const auto note = read_at<cg_note>(image, s.sh_offset);
        EXPECT_STREQ(note.name, CG_NOTE_NAME);
        EXPECT_EQ(note.type, CG_NOTE_TYPE);
        EXPECT_EQ(note.desc.abi_major, CG_ABI_MAJOR);
        EXPECT_EQ(note.desc.kinds, 1u << CG_KIND_AUTH_BACKEND);
        EXPECT_STREQ(note.desc.plugin_id, "org.callgate.probe");
        return;
    }
    FAIL() << "no section .note.callgate";
}

TEST(module, answers_through_its_manifest_and_refuses_a_foreign_major) {
    void* lib = dlopen(CALLGATE_PROBE_PLUGIN, RTLD_NOW | RTLD_LOCAL);
    ASSERT_NE(lib, nullptr) << dlerror();
    const auto entry = reinterpret_cast<cg_plugin_entry_fn>(dlsym(lib, CG_ENTRY_SYMBOL));
    ASSERT_NE(entry, nullptr);
    auto host = make<cg_negotiation>();
    const cg_manifest* manifest = nullptr;
    host.abi_major = CG_ABI_MAJOR + 1;
    EXPECT_EQ(entry(&host, &manifest), CG_E_ABI);
    EXPECT_EQ(manifest, nullptr);
    host.abi_major = CG_ABI_MAJOR;
    ASSERT_EQ(entry(&host, &manifest), CG_OK);
    EXPECT_EQ(view(manifest->version), "1.2.3");
    ASSERT_EQ(manifest->factory_count, 1u);
    EXPECT_EQ(view(manifest->factories[0]->type), "probe");

    test::fake_host fake;
    test::driver probe(fake, *manifest->factories[0], "{}");
    ASSERT_EQ(probe.start().status, CG_OK);
    test::test_request request;
    request.user = "alice";
    EXPECT_EQ(probe.authenticate(request).subject, "alice");
}

}  // namespace
