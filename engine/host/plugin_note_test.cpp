// SPDX-License-Identifier: Apache-2.0
#include "engine/host/plugin_note.hpp"

#include <elf.h>
#include <gtest/gtest.h>

#include <cstring>
#include <fstream>
#include <iterator>
#include <vector>

namespace callgate::host {
namespace {

std::vector<std::uint8_t> plugin_bytes(const char* name) {
    std::ifstream in(std::string(TEST_PLUGIN_DIR) + "/callgate_" + name + ".so", std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
}

TEST(plugin_note, is_read_from_a_real_plugin) {
    const auto note = read_plugin_note(plugin_bytes("good"));
    ASSERT_TRUE(note) << note.error().text;
    EXPECT_EQ(note->abi_major, 1u);
    EXPECT_EQ(note->abi_minor_needed, 0u);
    EXPECT_EQ(note->kinds, 2u);
    EXPECT_EQ(note->plugin_id, "org.callgate.test.backend");
    EXPECT_EQ(read_plugin_note(plugin_bytes("newer"))->abi_minor_built, 9u);
    EXPECT_EQ(read_plugin_note(plugin_bytes("keys"))->kinds, 4u);
}

TEST(plugin_note, is_found_without_section_headers) {
    auto file = plugin_bytes("good");
    Elf64_Ehdr elf;
    std::memcpy(&elf, file.data(), sizeof elf);
    elf.e_shoff = 0;
    elf.e_shnum = 0;
    std::memcpy(file.data(), &elf, sizeof elf);
    // gcc gives such a section the type NOTE, so the linker puts it into a PT_NOTE segment.
    const auto note = read_plugin_note(file);
    ASSERT_TRUE(note) << note.error().text;
    EXPECT_EQ(note->plugin_id, "org.callgate.test.backend");
}

TEST(plugin_note, is_found_without_note_segments) {
    auto file = plugin_bytes("good");
    Elf64_Ehdr elf;
    std::memcpy(&elf, file.data(), sizeof elf);
    elf.e_phnum = 0;
    std::memcpy(file.data(), &elf, sizeof elf);
    const auto note = read_plugin_note(file);
    ASSERT_TRUE(note) << note.error().text;
    EXPECT_EQ(note->plugin_id, "org.callgate.test.backend");
}

TEST(plugin_note, other_machine_is_named) {
    auto file = plugin_bytes("good");
    Elf64_Ehdr elf;
    std::memcpy(&elf, file.data(), sizeof elf);
    elf.e_machine = EM_S390;
    std::memcpy(file.data(), &elf, sizeof elf);
    const auto note = read_plugin_note(file);
    ASSERT_FALSE(note);
    EXPECT_EQ(note.error().text.find("is built for another machine (ELF machine 22); this callgate runs on "), 0u);
}

TEST(plugin_note, truncated_files_are_refused_at_every_length) {
    const auto file = plugin_bytes("good");
    const auto whole = read_plugin_note(file);
    ASSERT_TRUE(whole);
    for (std::size_t n = 0; n < file.size(); n += n < 1024 ? 1 : 97) {
        const auto note = read_plugin_note({file.data(), n});
        if (note) {
            EXPECT_EQ(note->plugin_id, whole->plugin_id) << n;
        }
    }
}

TEST(plugin_note, offsets_that_wrap_around_stay_inside_the_file) {
    auto file = plugin_bytes("good");
    Elf64_Ehdr elf;
    std::memcpy(&elf, file.data(), sizeof elf);
    for (const std::uint64_t offset : {~std::uint64_t{0}, ~std::uint64_t{0} - 63, std::uint64_t{1} << 63}) {
        elf.e_phoff = elf.e_shoff = offset;
        std::memcpy(file.data(), &elf, sizeof elf);
        EXPECT_FALSE(read_plugin_note(file));
    }
}

}  // namespace
}  // namespace callgate::host
