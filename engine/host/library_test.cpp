// SPDX-License-Identifier: Apache-2.0
#include "engine/host/library.hpp"

#include <sys/stat.h>
#include <unistd.h>

#include <fstream>

#include "engine/host/host_fixture.hpp"
#include "engine/host/plugin_file.hpp"

namespace callgate::host::test {
namespace {

class library_test : public ::testing::Test {
  protected:
    plugin_folder folder;
    library_options options = [this] {
        library_options o;
        o.directories = {folder.path()};
        o.probe.command = {TEST_PROBE, "plugin-probe"};
        return o;
    }();

    std::string refusal(const std::string& name) {
        library_loader loader(options);
        const auto r = loader.load(name);
        return r ? "it was loaded" : r.error().message();
    }
    std::string content(const std::string& name) const {
        std::ifstream in(folder.file(name), std::ios::binary);
        return {std::istreambuf_iterator<char>(in), {}};
    }
};

TEST_F(library_test, loads_and_describes_a_plugin) {
    folder.add("good");
    library_loader loader(options);
    const auto m = loader.load("good");
    ASSERT_TRUE(m) << m.error().message();
    EXPECT_EQ((*m)->plugin_id, "org.callgate.test.backend");
    EXPECT_EQ((*m)->version, "1.2.3");
    EXPECT_EQ((*m)->license, "Apache-2.0");
    EXPECT_EQ((*m)->abi_major, 1u);
    EXPECT_EQ((*m)->abi_minor, 0u);
    ASSERT_EQ((*m)->factories.size(), 1u);
    EXPECT_EQ((*m)->factories[0].type, "test");
    EXPECT_EQ((*m)->factories[0].kind, CG_KIND_AUTH_BACKEND);
    EXPECT_EQ((*m)->factories[0].config_schema, "{\"type\":\"object\"}");
    EXPECT_EQ((*m)->sha256.size(), 64u);
}

TEST_F(library_test, missing_plugin_says_where_it_was_looked_for) {
    options.directories.push_back("/nonexistent/plugins");
    EXPECT_EQ(refusal("nope"), "plugin \"nope\" is missing: no callgate_nope.so in " + folder.path() +
                                   ", /nonexistent/plugins; install it or add its directory to plugins.directories");
}

TEST_F(library_test, name_cannot_lead_out_of_the_directories) {
    EXPECT_EQ(refusal("../x"), "plugin name \"../x\" is not valid; use 1 to 64 of a-z, 0-9 and _");
}

TEST_F(library_test, foreign_major_is_refused_before_it_runs) {
    folder.add("wrong_major");
    options.probe.command = {"/nonexistent/probe"};  // would fail if it came that far
    EXPECT_EQ(refusal("wrong_major"), folder.file("wrong_major") +
                                          ": plugin is built for plugin ABI 2, this callgate speaks ABI 1.0; install the plugin's build for ABI 1");
}

TEST_F(library_test, plugin_that_needs_a_newer_minor_is_refused_before_it_runs) {
    folder.add("newer_minor");
    options.probe.command = {"/nonexistent/probe"};
    EXPECT_EQ(refusal("newer_minor"), folder.file("newer_minor") +
                                          ": plugin needs plugin ABI 1.7, this callgate speaks ABI 1.0; upgrade callgate or install an older build "
                                          "of the plugin");
}

TEST_F(library_test, file_without_note_is_no_plugin) {
    folder.add("no_note");
    EXPECT_EQ(refusal("no_note"),
              folder.file("no_note") + ": plugin has no .note.callgate: it is not a callgate plugin, or its source lacks CG_PLUGIN_NOTE");
}

TEST_F(library_test, file_that_is_no_shared_object_is_refused) {
    std::ofstream(folder.file("text")) << "#!/bin/sh\n";
    ::chmod(folder.file("text").c_str(), 0755);
    EXPECT_EQ(refusal("text"), folder.file("text") + ": plugin is not an ELF shared object");
}

TEST_F(library_test, missing_entry_symbol_is_named) {
    folder.add("no_entry");
    EXPECT_EQ(refusal("no_entry"),
              folder.file("no_entry") + ": plugin has no entry symbol cg_plugin_entry_v1; export it with default visibility");
}

TEST_F(library_test, crash_in_a_constructor_is_an_error_and_not_the_end) {
    folder.add("segv");
    EXPECT_EQ(refusal("segv"), folder.file("segv") + ": plugin crashed while loading (SIGSEGV)");
}

TEST_F(library_test, crash_in_the_entry_is_an_error_and_not_the_end) {
    folder.add("abort");
    EXPECT_EQ(refusal("abort"), folder.file("abort") + ": plugin crashed while loading (SIGABRT)");
}

TEST_F(library_test, plugin_that_ends_the_process_is_caught) {
    folder.add("leave");
    EXPECT_EQ(refusal("leave"), folder.file("leave") + ": plugin ended the process while loading (exit status 7)");
}

TEST_F(library_test, plugin_that_hangs_is_given_up) {
    folder.add("hang");
    options.probe.timeout = std::chrono::milliseconds(1000);
    EXPECT_EQ(refusal("hang"), folder.file("hang") + ": plugin did not finish loading within 1 s");
}

TEST_F(library_test, plugin_may_refuse_this_host) {
    folder.add("refuse");
    EXPECT_EQ(refusal("refuse"), folder.file("refuse") + ": plugin refused this host (CG_E_ABI); this callgate speaks ABI 1.0");
}

TEST_F(library_test, files_others_can_write_are_refused) {
    folder.add("good");
    ::chmod(folder.file("good").c_str(), 0775);
    EXPECT_EQ(refusal("good"), folder.file("good") + ": plugin mode 0775 lets others change it; chmod go-w");
    ::chmod(folder.file("good").c_str(), 0755);
    ::chmod(folder.path().c_str(), 0777);
    EXPECT_EQ(refusal("good"), folder.path() + ": mode 0777 lets others change it; chmod go-w");
    ::chmod(folder.path().c_str(), 01777);
    EXPECT_EQ(refusal("good"), "it was loaded") << "sticky: others cannot replace our files";
}

TEST_F(library_test, files_of_other_users_are_refused) {
    if (::geteuid() != 0) {
        // Without root no file can be given away; another user's home directory is not at hand either.
        EXPECT_NE(::chown(folder.path().c_str(), 12345, 12345), 0);
        return;
    }
    folder.add("good");
    ASSERT_EQ(::chown(folder.file("good").c_str(), 12345, 12345), 0);
    EXPECT_NE(refusal("good").find("belongs to user 12345; plugins and the directories above them must belong to root"), std::string::npos);
}

TEST_F(library_test, symbolic_link_in_place_of_the_file_is_refused) {
    folder.add("good", "real");
    std::filesystem::create_symlink(folder.file("real"), folder.file("good"));
    EXPECT_EQ(refusal("good"), folder.file("good") + ": plugin is a symbolic link; name the file itself");
}

TEST_F(library_test, fifo_in_place_of_the_file_does_not_hang) {
    ASSERT_EQ(::mkfifo(folder.file("good").c_str(), 0600), 0);
    EXPECT_EQ(refusal("good"), folder.file("good") + ": plugin is not a regular file");
}

TEST_F(library_test, pinned_hash_is_checked_on_the_bytes_that_are_loaded) {
    folder.add("good");
    const auto bytes = content("good");
    const auto hash = sha256_hex({reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size()});
    options.sha256["good"] = hash;
    library_loader loader(options);
    const auto m = loader.load("good");
    ASSERT_TRUE(m) << m.error().message();
    EXPECT_EQ((*m)->sha256, hash);
    options.sha256["good"] = std::string(64, '0');
    EXPECT_EQ(refusal("good"),
              folder.file("good") + ": plugin has sha256 " + hash + ", but plugins.sha256.good demands " + std::string(64, '0'));
}

TEST_F(library_test, file_that_changes_after_its_hash_was_checked_is_not_what_runs) {
    folder.add("good", "swapped");
    folder.add("newer");
    // What was loaded before is not probed again.
    std::ofstream(folder.file("swapped"), std::ios::binary | std::ios::app) << "not loaded before";
    const auto bytes = content("swapped");
    options.sha256["swapped"] = sha256_hex({reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size()});
    // The probe runs between the check and the load.
    options.probe.command = {"/bin/sh", "-c", "cat \"$1\" > \"$2\" && exec \"$3\" plugin-probe \"$4\"", "sh", folder.file("newer"), folder.file("swapped"), TEST_PROBE};
    library_loader loader(options);
    const auto m = loader.load("swapped");
    ASSERT_TRUE(m) << m.error().message();
    EXPECT_EQ(content("swapped"), content("newer")) << "the probe has changed the file";
    EXPECT_EQ((*m)->plugin_id, "org.callgate.test.backend");
    EXPECT_EQ((*m)->sha256, options.sha256["swapped"]);
}

TEST_F(library_test, file_written_again_with_the_same_content_is_no_other_file) {
    folder.add("good", "again");
    const auto bytes = content("again");
    library_loader loader(options);
    const auto before = loader.load("again");
    ASSERT_TRUE(before);
    std::ofstream(folder.file("again"), std::ios::binary | std::ios::trunc) << bytes;
    const auto after = loader.load("again");
    ASSERT_TRUE(after) << after.error().message();
    EXPECT_EQ(before->get(), after->get());
    std::filesystem::create_hard_link(folder.file("again"), folder.file("linked"));
    const auto linked = loader.load("linked");
    ASSERT_TRUE(linked) << linked.error().message();
    EXPECT_EQ(before->get(), linked->get());
}

TEST_F(library_test, same_content_is_loaded_once) {
    folder.add("good");
    folder.add("good", "copy");
    library_loader one(options), two(options);
    const auto a = one.load("good"), b = two.load("copy");
    ASSERT_TRUE(a && b);
    EXPECT_EQ(a->get(), b->get());
}

TEST_F(library_test, file_overwritten_in_place_is_refused_and_a_renamed_one_is_not) {
    folder.add("good", "x");
    library_loader loader(options);
    const auto before = loader.load("x");
    ASSERT_TRUE(before);
    folder.add("newer", "y");
    const auto other = content("y");
    std::ofstream(folder.file("x"), std::ios::binary | std::ios::trunc) << other;
    EXPECT_EQ(refusal("x"), folder.file("x") +
                                ": plugin file was overwritten in place after it was loaded; install a new version under a new file and rename it "
                                "over the old one");
    std::filesystem::rename(folder.file("y"), folder.file("x"));
    const auto after = loader.load("x");
    ASSERT_TRUE(after) << after.error().message();
    EXPECT_EQ((*after)->plugin_id, "org.callgate.test.newer");
    EXPECT_EQ((*before)->plugin_id, "org.callgate.test.backend") << "the old build stays";
}

TEST_F(library_test, no_copy_is_left_behind) {
    folder.add("older");
    options.private_directory = folder.path();
    library_loader loader(options);
    ASSERT_TRUE(loader.load("older"));
    std::size_t entries = 0;
    for (const auto& e : std::filesystem::directory_iterator(folder.path())) entries += e.exists() ? 1 : 0;
    EXPECT_EQ(entries, 1u);
}

}  // namespace
}  // namespace callgate::host::test
