// SPDX-License-Identifier: Apache-2.0
#include "sdk/check/claim_store_suite.hpp"

#include <callgate/sdk/claim_store.hpp>
#include <callgate/sdk/testing/claim_store_client.hpp>
#include <callgate/sdk/testing/driver.hpp>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <fcntl.h>
#include <random>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>

namespace callgate::check {
namespace {

using sdk::test::captured_change;
using sdk::test::captured_entry;
using sdk::test::captured_stream;
using sdk::test::claim_commit;
using sdk::test::completion;

void require(bool held, const std::string& otherwise) {
    if (!held) throw claim_store_fault(otherwise);
}

std::string shown(const completion& c) {
    return "status " + std::to_string(c.status) + (c.error.empty() ? "" : " (" + c.error + ")");
}

// One running instance over the subject's data.
class running {
  public:
    explicit running(const claim_store_subject& s) : driver_(host_, *s.factory, s.config_json, s.folder), client_(host_, driver_.get()) {
        const auto started = driver_.start();
        require(started.status == CG_OK, "the store does not start: " + started.error);
    }
    sdk::test::claim_store_client* operator->() { return &client_; }
    void stop() { driver_.stop(); }
    void no_faults() const { require(host_.faults() == 0, "the store completed an operation twice"); }

  private:
    sdk::test::fake_host host_;
    sdk::test::driver driver_;
    sdk::test::claim_store_client client_;
};

std::uint64_t done(const completion& c, const char* what) {
    require(c.status == CG_OK && c.outcome == CG_OK, std::string(what) + " was not done: " + shown(c) + ", outcome " + std::to_string(c.outcome));
    return c.revision;
}
captured_entry one(running& store, const std::string& key) {
    const auto c = store->get({key});
    require(c.status == CG_OK && c.entries.size() == 1, "get of one key: " + shown(c));
    return c.entries[0];
}

void reads_what_was_written(const claim_store_subject& s) {
    running store(s);
    const std::string odd("\0\xff\n\x80", 4);
    const auto r1 = done(store->commit({.puts = {{"a/b", "1"}, {"a/c", odd}, {"empty", ""}}}), "a commit of three puts");
    require(r1 > 0, "the first commit has revision 0");
    const auto got = store->get({"a/c", "none", "a/b", "empty", "a/b"});
    const std::vector<captured_entry> expected{{"a/c", odd, r1}, {"none", "", 0}, {"a/b", "1", r1}, {"empty", "", r1}, {"a/b", "1", r1}};
    require(got.entries == expected, "get does not answer each key in the order asked, with value and revision");
    require(got.revision == r1, "get says another revision of the store than that of the last commit");
    const auto r2 = done(store->commit({.puts = {{"a/b", "2"}}, .deletes = {"a/c", "never-there"}}), "a commit with deletes");
    require(r2 > r1, "revisions do not rise");
    require(one(store, "a/b") == captured_entry{"a/b", "2", r2}, "a put did not replace the value");
    require(one(store, "a/c").revision == 0, "a deleted key is still there");
    require(one(store, "empty").revision == r1, "a commit changed the revision of a key it did not touch");
    store.no_faults();
}

void keeps_limits(const claim_store_subject& s) {
    running store(s);
    const auto l = store->limits();
    require(l.max_get_keys >= 64 && l.max_scan_entries >= 64 && l.max_commit_items >= 64 && l.max_watches >= 16 && l.max_value_bytes >= 256 * 1024 &&
                l.max_value_bytes <= CG_CLAIM_MAX_VALUE_BYTES && l.max_commit_bytes >= 512 * 1024,
            "limits are outside of what the contract allows");
    const auto refused = [&](const completion& c, const char* what) { require(c.status == CG_E_INVALID && !c.error.empty(), std::string(what) + " was not refused with a text: " + shown(c)); };
    for (const char* bad : {"", "/a", "a/", "a//b", "..", "a/./b", "a b", "\x7f", "\xc3\xa4"}) {
        refused(store->put(bad, "x"), "a put of a key that is not well-formed");
        refused(store->get({bad}), "a get of a key that is not well-formed");
    }
    refused(store->put(std::string(513, 'k'), "x"), "a key of 513 bytes");
    refused(store->put("big", std::string(l.max_value_bytes + 1, 'x')), "a value above the limit");
    refused(store->commit({}), "a commit without puts and deletes");
    refused(store->commit({.puts = {{"a", "1"}, {"a", "2"}}}), "a commit with a key twice");
    refused(store->commit({.puts = {{"a", "1"}}, .idempotency = std::string(65, 't')}), "an idempotency token of 65 bytes");
    claim_commit many;
    for (std::uint32_t i = 0; i <= l.max_commit_items; ++i) many.deletes.push_back("k" + std::to_string(i));
    refused(store->commit(many), "a commit with too many items");
    refused(store->get(std::vector<std::string>(l.max_get_keys + 1, "k")), "a get of too many keys");
    const std::string longest(512, 'k'), largest(l.max_value_bytes, 'v');
    done(store->put(longest, largest), "a put of the longest key and largest value");
    require(one(store, longest).value == largest, "the largest value did not come back");
}

void scans_in_order(const claim_store_subject& s) {
    running store(s);
    std::vector<std::string> keys;
    for (int i = 0; i < 150; ++i) keys.push_back("n/" + std::to_string(i * 7919 % 1000));
    for (const char* k : {"m", "n", "n.", "n0", "o"}) keys.emplace_back(k);
    for (std::size_t i = 0; i < keys.size(); i += 50) {
        claim_commit c;
        for (std::size_t j = i; j < std::min(keys.size(), i + 50); ++j) c.puts.emplace_back(keys[j], "v" + keys[j]);
        done(store->commit(c), "a commit of 50 keys");
    }
    std::sort(keys.begin(), keys.end());
    for (const std::uint32_t limit : {0u, 1u, 7u, 150u, 100'000u}) {
        const auto all = store->scan_all("n/", limit);
        require(all.size() == 150, "a scan with limit " + std::to_string(limit) + " gave " + std::to_string(all.size()) + " of 150 keys");
        for (std::size_t i = 0; i < all.size(); ++i)
            require(all[i].value == "v" + all[i].key && (i == 0 || all[i - 1].key < all[i].key), "a scan is not in the order of keys, or mixes values up");
    }
    const auto every = store->scan_all("", 13);
    require(every.size() == keys.size(), "a scan of everything left keys out");
    for (std::size_t i = 0; i < keys.size(); ++i) require(every[i].key == keys[i], "keys are not ordered bytewise");
    require(store->scan_all("zzz").empty(), "a scan of an unused prefix found something");
}

void scans_one_picture(const claim_store_subject& s) {
    running store(s);
    claim_commit c;
    for (int i = 10; i < 60; ++i) c.puts.emplace_back("p/" + std::to_string(i), "old");
    const auto at = done(store->commit(c), "a commit of 50 keys");
    std::vector<captured_entry> seen;
    std::string cursor;
    int round = 0;
    do {
        const auto page = store->scan("p/", cursor, 10, at);
        require(page.status == CG_OK && page.revision == at, "a page at an earlier revision: " + shown(page));
        seen.insert(seen.end(), page.entries.begin(), page.entries.end());
        cursor = page.next;
        // Behind and before the cursor: changed, deleted, deleted and made again, new.
        const auto n = [&](int i) { return "p/" + std::to_string(10 + i); };
        done(store->commit({.puts = {{n(round * 3), "new"}, {"p/9" + std::to_string(round), "new"}}, .deletes = {n(49 - round), n(25 + round)}}), "a commit between pages");
        if (round % 2 == 1) done(store->put(n(25 + round), "again"), "a put between pages");
        ++round;
    } while (!cursor.empty());
    require(seen.size() == 50, "pages at one revision gave " + std::to_string(seen.size()) + " of the 50 keys it had");
    for (const auto& e : seen) require(e.value == "old" && e.revision == at, "key " + e.key + " shows a later state in a listing at an earlier revision");
    const auto ahead = store->scan("p/", "", 10, store->get({"x"}).revision + 1000);
    require(ahead.status == CG_E_INVALID || ahead.status == CG_E_COMPACTED, "a revision the store has not reached was not refused: " + shown(ahead));
}

void judges_preconditions(const claim_store_subject& s) {
    running store(s);
    const auto r1 = done(store->commit({.puts = {{"a", "1"}}, .preconditions = {{CG_CLAIM_KEY_ABSENT, "a"}, {CG_CLAIM_KEY_ABSENT, "b"}}}), "KEY_ABSENT of absent keys");
    const auto conflicts = [&](const claim_commit& c, const std::string& key, std::uint64_t has) {
        const auto r = store->commit(c);
        require(r.status == CG_OK && r.outcome == CG_E_CONFLICT, "a precondition that does not hold is not answered as a conflict: " + shown(r));
        require(r.conflict_key == key && r.conflict_revision == has, "a conflict names " + r.conflict_key + " at " + std::to_string(r.conflict_revision) + " instead of " + key + " at " + std::to_string(has));
    };
    conflicts({.puts = {{"a", "2"}, {"c", "2"}}, .preconditions = {{CG_CLAIM_KEY_ABSENT, "a"}}}, "a", r1);
    conflicts({.puts = {{"c", "2"}}, .deletes = {"a"}, .preconditions = {{CG_CLAIM_KEY_AT, "a", r1}, {CG_CLAIM_KEY_AT, "b", r1}}}, "b", 0);
    conflicts({.puts = {{"a", "2"}}, .preconditions = {{CG_CLAIM_KEY_AT, "a", r1 + 1}}}, "a", r1);
    require(one(store, "a").value == "1" && one(store, "c").revision == 0, "a commit in conflict did something");
    const auto r2 = done(store->commit({.puts = {{"a", "2"}}, .preconditions = {{CG_CLAIM_KEY_AT, "a", r1}, {CG_CLAIM_PREFIX_UNCHANGED, "dir/", r1}}}), "preconditions that hold");
    const auto r3 = done(store->commit({.puts = {{"dir/x", "1"}}}), "a put");
    conflicts({.puts = {{"z", "1"}}, .preconditions = {{CG_CLAIM_PREFIX_UNCHANGED, "dir/", r2}}}, "dir/x", r3);
    done(store->commit({.puts = {{"y", "1"}}, .preconditions = {{CG_CLAIM_PREFIX_UNCHANGED, "dir/", r3}, {CG_CLAIM_PREFIX_UNCHANGED, "dir", r3}}}), "PREFIX_UNCHANGED");
    const auto r4 = done(store->commit({.deletes = {"dir/x"}}), "a delete");
    conflicts({.puts = {{"z", "1"}}, .preconditions = {{CG_CLAIM_PREFIX_UNCHANGED, "dir/", r3}}}, "dir/x", 0);
    done(store->commit({.puts = {{"z", "1"}}, .preconditions = {{CG_CLAIM_PREFIX_UNCHANGED, "dir/", r4}}}), "PREFIX_UNCHANGED after a delete");
}

void repeats_are_done_once(const claim_store_subject& s) {
    const claim_commit c{.puts = {{"a", "1"}}, .preconditions = {{CG_CLAIM_KEY_ABSENT, "a"}}, .idempotency = std::string("tok\0en", 6)};
    std::uint64_t revision = 0;
    {
        running store(s);
        const auto first = store->commit(c);
        revision = done(first, "a commit with a token");
        require(!first.replayed, "a first commit is called a repetition");
        const auto again = store->commit(c);
        require(done(again, "a repeated commit") == revision && again.replayed, "a repeated commit is not answered as the first one was");
        done(store->put("a", "2"), "a put");
        require(done(store->commit(c), "a repeated commit after another") == revision, "a repeated commit is not answered as the first one was");
        require(one(store, "a").value == "2", "a repeated commit was done twice");
        auto other = c;
        other.puts[0].second = "other";
        require(store->commit(other).status == CG_E_INVALID, "a token used for another commit was not refused");
        auto conflict = c;
        conflict.idempotency = "t2";
        require(store->commit(conflict).outcome == CG_E_CONFLICT, "KEY_ABSENT of a present key is no conflict");
        done(store->commit({.deletes = {"a"}}), "a delete");
        require(!store->commit(conflict).replayed, "a commit in conflict was remembered as done");
    }
    running store(s);
    const auto later = store->commit(c);
    require(done(later, "a repeated commit after a restart") == revision && later.replayed, "idempotency tokens do not survive a restart");
}

void survives_restart(const claim_store_subject& s) {
    std::uint64_t revision = 0;
    {
        running store(s);
        done(store->put("k", "1"), "a put");
        revision = done(store->commit({.puts = {{"l", "2"}}, .deletes = {"k"}}), "a commit");
    }
    running store(s);
    require(one(store, "l") == captured_entry{"l", "2", revision}, "what was committed is gone after a restart");
    require(one(store, "k").revision == 0, "what was deleted is back after a restart");
    require(done(store->put("m", "3"), "a put") > revision, "revisions do not rise across a restart");
}

// Two instances, as two processes would be, raise one counter with KEY_AT until each has done so 50 times.
void writers_race(const claim_store_subject& s) {
    constexpr int times = 50;
    {
        running store(s);
        done(store->put("counter", "0"), "a put");
    }
    std::exception_ptr fault[2];
    const auto work = [&](int me) {
        try {
            running store(s);
            for (int mine = 0; mine < times;) {
                const auto now = one(store, "counter");
                const auto c = store->commit({.puts = {{"counter", std::to_string(std::stoi(now.value) + 1)}, {"by/" + std::to_string(me) + "/" + std::to_string(mine), now.value}},
                                              .preconditions = {{CG_CLAIM_KEY_AT, "counter", now.revision}}});
                require(c.status == CG_OK, "a commit in a race failed: " + shown(c));
                if (c.outcome == CG_OK) ++mine;
            }
        } catch (...) {
            fault[me] = std::current_exception();
        }
    };
    std::thread first(work, 0), second(work, 1);
    first.join();
    second.join();
    for (const auto& f : fault)
        if (f) std::rethrow_exception(f);
    running store(s);
    require(one(store, "counter").value == std::to_string(2 * times), "of " + std::to_string(2 * times) + " increments " + one(store, "counter").value + " are there: updates were lost");
    std::set<std::string> bases;
    for (const auto& e : store->scan_all("by/")) bases.insert(e.value);
    require(bases.size() == 2 * times, "two writers saw the same value and both committed");
}

std::vector<captured_change> expected_changes(running& store, std::uint64_t& from) {
    from = store->get({"x"}).revision;
    std::vector<captured_change> out;
    for (int i = 0; i < 40; ++i) {
        const auto k = "w/" + std::to_string(i % 5);
        const bool drop = i % 7 == 6;
        const auto r = drop ? done(store->commit({.deletes = {k}}), "a delete")
                            : done(store->commit({.puts = {{k, "v" + std::to_string(i)}, {"w/pair", std::to_string(i)}, {"other", "x"}}}), "a commit");
        if (drop) out.push_back({CG_CLAIM_CHANGE_DELETE, k, "", r, ""});
        else {
            out.push_back({CG_CLAIM_CHANGE_PUT, k, "v" + std::to_string(i), r, ""});
            out.push_back({CG_CLAIM_CHANGE_PUT, "w/pair", std::to_string(i), r, ""});
        }
    }
    return out;
}
void same_changes(const std::vector<captured_change>& got, const std::vector<captured_change>& expected, const char* when) {
    require(got.size() == expected.size(), std::string(when) + ": a watch saw " + std::to_string(got.size()) + " of " + std::to_string(expected.size()) + " changes");
    for (std::size_t i = 0; i < got.size(); ++i)
        require(got[i].kind == expected[i].kind && got[i].key == expected[i].key && got[i].value == expected[i].value && got[i].revision == expected[i].revision,
                std::string(when) + ": change " + std::to_string(i) + " is " + got[i].key + "=" + got[i].value + " at " + std::to_string(got[i].revision) + ", not " + expected[i].key + "=" +
                    expected[i].value + " at " + std::to_string(expected[i].revision));
}

void watches_in_order(const claim_store_subject& s) {
    captured_stream history(1, 1000), live(2, 1000), none(3, 0);
    running store(s);
    require(store->watch(live, "w/", 0).status == CG_OK, "a watch does not open");
    require(store->watch(none, "w/", 0).status == CG_OK, "a watch without credits does not open");
    std::uint64_t from = 0;
    const auto expected = expected_changes(store, from);
    same_changes(live.wait(expected.size()), expected, "live");
    require(store->watch(history, "w/", from).status == CG_OK, "a watch of the past does not open");
    same_changes(history.wait(expected.size()), expected, "from a revision");
    require(none.count() == 0, "a watch without credits was sent events");
    store->request(none, 3);
    require(none.wait(3).size() == 3, "credits do not bring events");
    store->cancel(live);
    require(live.wait_end() == CG_E_CANCELLED, "a cancelled watch does not end with CG_E_CANCELLED");
    done(store->put("w/0", "after"), "a put");
    require(history.wait(expected.size() + 1).back().value == "after", "another watch ended with the cancelled one");
    store.stop();
    require(history.wait_end() == CG_E_CANCELLED && none.wait_end() == CG_E_CANCELLED, "watches do not end with CG_E_CANCELLED when the store stops");
    require(none.count() == 3, "a watch got more events than credits");
    require(live.faults() + history.faults() + none.faults() == 0, "a stream had two calls at once, an event after its end, or two ends");
}

void watch_goes_on_after_reconnect(const claim_store_subject& s) {
    std::vector<captured_change> expected, got;
    std::uint64_t from = 0;
    {
        running store(s);
        expected = expected_changes(store, from);
    }
    std::string token;
    std::mt19937_64 random(s.seed);
    // A new instance for each stretch, as after a restart; it ends in the middle of commits too.
    for (cg_stream id = 1; got.size() < expected.size(); ++id) {
        const auto stretch = static_cast<std::uint32_t>(1 + random() % 5);
        captured_stream part(id, stretch);
        running store(s);
        const auto opened = store->watch(part, "w/", from, token);
        require(opened.status == CG_OK, "a watch does not resume: " + shown(opened));
        const auto seen = part.wait(std::min<std::size_t>(stretch, expected.size() - got.size()));
        require(!seen.empty(), "a resumed watch brings nothing");
        got.insert(got.end(), seen.begin(), seen.end());
        token = seen.back().resume;
        require(!token.empty() && token.size() <= CG_STREAM_TOKEN_MAX, "an event has no resume token, or too long a one");
        store.stop();
        require(part.resume() == token, "the end's resume token is not that of the last event");
    }
    same_changes(got, expected, "across reconnects");
}

class temporary_file {
  public:
    explicit temporary_file(const std::string& folder) {
        auto path = folder + "/snapshot-XXXXXX";
        fd = ::mkstemp(path.data());
        require(fd >= 0, "cannot make a temporary file in " + folder);
        ::unlink(path.c_str());
    }
    ~temporary_file() { ::close(fd); }
    void rewind() const { ::lseek(fd, 0, SEEK_SET); }
    int fd;
};

void snapshots_and_restores(const claim_store_subject& s) {
    captured_stream watched(1, 0);
    running store(s);
    if (store->api().snapshot == nullptr) return;
    claim_commit c;
    for (int i = 0; i < 60; ++i) c.puts.emplace_back("s/" + std::to_string(i), std::string(static_cast<std::size_t>(i) * 100, 'x'));
    done(store->commit(c), "a commit of 60 keys");
    const auto before = store->scan_all("");
    const temporary_file file(s.folder);
    const auto taken = store->snapshot(file.fd);
    if (taken.status == CG_E_UNSUPPORTED) return;
    require(taken.status == CG_OK && taken.transferred_entries == 60, "a snapshot failed: " + shown(taken));
    require(::lseek(file.fd, 0, SEEK_END) == static_cast<off_t>(taken.transferred_bytes), "a snapshot says another size than it wrote");
    const auto r = done(store->commit({.puts = {{"s/1", "changed"}, {"new", "1"}}, .deletes = {"s/2"}}), "a commit");
    require(store->watch(watched, "", r).status == CG_OK, "a watch does not open");
    file.rewind();
    require(store->restore(file.fd).status == CG_E_INVALID, "a restore over what is stored needs no word for it");
    char byte = 0;
    require(::pread(file.fd, &byte, 1, 2000) == 1, "the snapshot is too small");
    const char flipped = static_cast<char>(byte ^ 1);
    require(::pwrite(file.fd, &flipped, 1, 2000) == 1, "cannot write");
    file.rewind();
    require(store->restore(file.fd, CG_CLAIM_RESTORE_REPLACE).status == CG_E_INVALID, "a damaged snapshot was not refused");
    require(one(store, "new").revision == r, "a refused restore changed the store");
    require(::pwrite(file.fd, &byte, 1, 2000) == 1, "cannot write");
    file.rewind();
    const auto restored = store->restore(file.fd, CG_CLAIM_RESTORE_REPLACE);
    require(restored.status == CG_OK && restored.transferred_entries == 60, "a restore failed: " + shown(restored));
    require(restored.revision > r, "a restore does not raise the revision");
    const auto after = store->scan_all("");
    require(after.size() == before.size(), "a restore brought other keys than the snapshot had");
    for (std::size_t i = 0; i < after.size(); ++i)
        require(after[i].key == before[i].key && after[i].value == before[i].value && after[i].revision == restored.revision, "key " + before[i].key + " is not as in the snapshot, at the new revision");
    require(watched.wait_end() == CG_E_COMPACTED, "a watch does not end with CG_E_COMPACTED when the store is restored");
    captured_stream late(2, 1);
    require(store->watch(late, "", r).status == CG_E_COMPACTED, "a watch from before a restore is not CG_E_COMPACTED");
}

// ---- kill -9
// The child commits and tells each answer through a pipe; the parent kills it somewhere and looks at what is there.
[[noreturn]] void commit_until_killed(const claim_store_subject& s, int round, int out) {
    try {
        running store(s);
        std::deque<std::pair<int, cg_op>> open;
        for (int n = 0;; ++n) {
            const auto name = std::to_string(round) + "/" + std::to_string(n);
            open.emplace_back(n, store->commit_op({.puts = {{"log/" + name, name}, {"pair/" + name, name}, {"last", name}}, .idempotency = name}));
            if (open.size() < 8) continue;
            const auto [number, op] = open.front();
            open.pop_front();
            const auto c = store->answer(op);
            if (c.status != CG_OK || c.outcome != CG_OK) ::_exit(3);
            struct {
                std::uint64_t number, revision;
            } told{static_cast<std::uint64_t>(number), c.revision};
            if (::write(out, &told, sizeof told) != sizeof told) ::_exit(4);
        }
    } catch (...) {
        ::_exit(5);
    }
}

void survives_kill(const claim_store_subject& s) {
    std::mt19937_64 random(s.seed);
    std::uint64_t last_revision = 0;
    for (int round = 0; round < s.kills; ++round) {
        int ends[2];
        require(::pipe2(ends, O_CLOEXEC) == 0, "cannot make a pipe");
        const pid_t child = ::fork();
        require(child >= 0, "cannot fork");
        if (child == 0) {
            ::close(ends[0]);
            commit_until_killed(s, round, ends[1]);
        }
        ::close(ends[1]);
        // The point of the kill is told by the number of answers and a random while after it.
        const auto kill_after = 1 + random() % 40;
        std::map<std::uint64_t, std::uint64_t> acknowledged;
        struct {
            std::uint64_t number, revision;
        } told{};
        bool killed = false;
        while (::read(ends[0], &told, sizeof told) == sizeof told) {
            acknowledged[told.number] = told.revision;
            if (killed || acknowledged.size() < kill_after) continue;
            for (auto spin = random() % 200'000; spin != 0; --spin) asm volatile("");
            ::kill(child, SIGKILL);
            killed = true;
        }
        ::close(ends[0]);
        int status = 0;
        ::waitpid(child, &status, 0);
        require(killed && WIFSIGNALED(status), "the store failed before it was killed, exit " + std::to_string(WEXITSTATUS(status)));

        running store(s);
        const auto prefix = "log/" + std::to_string(round) + "/";
        std::map<std::uint64_t, std::uint64_t> found;
        for (const auto& e : store->scan_all(prefix)) {
            const auto name = e.key.substr(4);
            found[std::stoull(e.key.substr(prefix.size()))] = e.revision;
            require(one(store, "pair/" + name).revision == e.revision, "a commit is there by half after kill -9: " + name);
            require(e.revision > last_revision, "a revision was used twice across kill -9");
        }
        for (const auto& [number, revision] : acknowledged)
            require(found.contains(number) && found[number] == revision, "commit " + std::to_string(number) + " of round " + std::to_string(round) + " was answered and is gone after kill -9");
        // Those without an answer: the token tells what became of them, and a retry does each once.
        for (std::uint64_t n = acknowledged.size(); n < acknowledged.size() + 10; ++n) {
            const auto name = std::to_string(round) + "/" + std::to_string(n);
            const auto c = store->commit({.puts = {{"log/" + name, name}, {"pair/" + name, name}, {"last", name}}, .idempotency = name});
            done(c, "a retry after kill -9");
            require(c.replayed == found.contains(n) && (!c.replayed || c.revision == found[n]), "a retry after kill -9 does not tell whether the commit had happened");
            last_revision = std::max(last_revision, c.revision);
        }
        for (const auto& [number, revision] : found) last_revision = std::max(last_revision, revision);
    }
}

constexpr claim_store_check checks[] = {
    {"reads_what_was_written", "get answers each key with value and revision of the last commit", reads_what_was_written},
    {"keeps_limits", "limits and the form of keys are refused with CG_E_INVALID and a text; what is within them is taken", keeps_limits},
    {"scans_in_order", "scan gives every key of a prefix once, in bytewise order, whatever the limit", scans_in_order},
    {"scans_one_picture", "pages at one revision show that state while others commit", scans_one_picture},
    {"judges_preconditions", "a commit happens whole when its preconditions hold, and not at all with the conflicting key named when not", judges_preconditions},
    {"repeats_are_done_once", "an idempotency token makes a repeated commit happen once, across restarts", repeats_are_done_once},
    {"survives_restart", "data and revisions survive a restart", survives_restart},
    {"writers_race", "two writers with preconditions lose no update", writers_race},
    {"watches_in_order", "a watch brings every change in order, within its credits, and ends once", watches_in_order},
    {"watch_goes_on_after_reconnect", "a watch resumed by its token loses and repeats nothing", watch_goes_on_after_reconnect},
    {"snapshots_and_restores", "a snapshot restores as it was, a damaged one changes nothing", snapshots_and_restores},
    {"survives_kill", "what was answered survives kill -9, and nothing is there by half", survives_kill},
};

}  // namespace

std::span<const claim_store_check> claim_store_checks() noexcept { return checks; }

}  // namespace callgate::check
