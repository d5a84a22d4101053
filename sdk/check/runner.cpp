// SPDX-License-Identifier: Apache-2.0
#include "sdk/check/runner.hpp"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <callgate/abi/draft/kinds.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <regex>

#include "sdk/check/control_loop.hpp"
#include "sdk/check/guarded.hpp"
#include "sdk/check/process_state.hpp"
#include "sdk/check/recorder.hpp"

namespace callgate::check {
namespace {

enum class ending : std::uint8_t { normal, crash, exit, hang };

struct observation {
    const check_entry* test = nullptr;
    record said;
    ending end = ending::normal;
    std::string call;   ///< of the plugin, in which it ended
    std::string detail; ///< what to say about the ending
    std::string output; ///< last lines the plugin printed
    double seconds = 0;
};

constexpr int clean_exit = 86;

// In the test's process.
void run_test(const check_entry& test, const settings& s) {
    control_loop::get().adopt();
    try {
        test.run(s);
    } catch (const cannot_judge& e) {
        recorder::blocked(e.check(), e.what());
    } catch (const not_applicable& e) {
        recorder::skipped(e.what());
    } catch (const std::exception& e) {
        recorder::violated(test.name, std::string("the test could not be made: ") + e.what());
    }
    recorder::ended();
}

std::string last_lines(int descriptor) {
    const auto size = ::lseek(descriptor, 0, SEEK_END);
    if (size <= 0) return {};
    std::string text(static_cast<std::size_t>(std::min<off_t>(size, 1500)), 0);
    const auto n = ::pread(descriptor, text.data(), text.size(), size - static_cast<off_t>(text.size()));
    text.resize(n > 0 ? static_cast<std::size_t>(n) : 0);
    while (!text.empty() && text.back() == '\n') text.pop_back();
    std::size_t lines = 0;
    for (auto i = text.size(); i > 0; --i)
        if (text[i - 1] == '\n' && ++lines == 8) return text.substr(i);
    return text;
}

// True when the process ended in time.
bool wait_for(pid_t child, std::chrono::milliseconds limit, int& status) {
    const int handle = static_cast<int>(::syscall(SYS_pidfd_open, child, 0));
    if (handle < 0) {
        // Old kernels: the end is asked for now and then.
        const auto until = now_ns() + limit.count() * 1'000'000;
        while (now_ns() < until) {
            if (::waitpid(child, &status, WNOHANG) == child) return true;
            ::poll(nullptr, 0, 5);
        }
        return false;
    }
    pollfd p{handle, POLLIN, 0};
    const int ready = ::poll(&p, 1, static_cast<int>(limit.count()));
    ::close(handle);
    if (ready <= 0) return false;
    return ::waitpid(child, &status, 0) == child;
}

/// Stores keep what they are given: each test works in an empty folder of its own, removed afterwards.
class own_folder {
  public:
    own_folder(settings& s, std::uint32_t kind) {
        if (kind != CG_KIND_CLAIM_STORE && kind != CG_KIND_AUDIT_SINK) return;
        char name[] = "/tmp/callgate-check-XXXXXX";
        if (::mkdtemp(name) == nullptr) throw std::runtime_error("cannot make a folder in /tmp");
        path_ = name;
        for (auto& g : s.good) g.base_dir = path_;
        for (auto& g : s.stalled) g.base_dir = path_;
        if (!s.stalled.empty() && ::mkfifo((path_ + "/stalled").c_str(), 0600) != 0) throw std::runtime_error("cannot make a FIFO in " + path_);
        for (auto& b : s.bad) b.base_dir = path_;
    }
    ~own_folder() {
        std::error_code ignored;
        if (!path_.empty()) std::filesystem::remove_all(path_, ignored);
    }
    own_folder(const own_folder&) = delete;
    own_folder& operator=(const own_folder&) = delete;

  private:
    std::string path_;
};

observation observe(const check_entry& test, settings s, std::uint32_t kind) {
    const own_folder folder(s, kind);
    observation o;
    o.test = &test;
    const int said = ::memfd_create("record", MFD_CLOEXEC);
    const int printed = ::memfd_create("output", MFD_CLOEXEC);
    progress::clear();
    const auto begin = now_ns();
    if (s.in_process) {
        recorder::open(said);
        run_test(test, s);
        o.said = recorder::read(said);
        o.seconds = static_cast<double>(now_ns() - begin) * 1e-9;
        ::close(said);
        ::close(printed);
        return o;
    }
    const pid_t child = ::fork();
    if (child == 0) {
        ::setpgid(0, 0);
        const int nothing = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
        ::dup2(nothing, 0);
        ::dup2(printed, 1);
        ::dup2(printed, 2);
        recorder::open(said);
        install_fault_handlers();
        run_test(test, s);
        ::_exit(clean_exit);
    }
    ::setpgid(child, child);
    int status = 0;
    const bool in_time = wait_for(child, s.timeout, status);
    if (!in_time) {
        o.end = ending::hang;
        o.call = progress::in_calls();
        o.detail = "the test did not end within " + std::to_string(s.timeout.count()) + " ms" +
                   (o.call.empty() ? "" : ", in " + o.call) + ": a call that waits for something which does not come, or two locks taken in different order? Run with --in-process in a debugger to see";
        ::kill(-child, SIGKILL);
        ::waitpid(child, &status, 0);
    }
    // What the plugin left running goes with it.
    ::kill(-child, SIGKILL);
    o.said = recorder::read(said);
    o.output = last_lines(printed);
    o.seconds = static_cast<double>(now_ns() - begin) * 1e-9;
    ::close(said);
    ::close(printed);
    if (!in_time) return o;
    if (!o.said.crash.empty()) {
        o.end = ending::crash;
        o.call = o.said.crash;
        o.detail = "the process was ended by " + o.said.crash + "; the daemon would have ended there. Run this test alone with --in-process in a debugger";
    } else if (WIFSIGNALED(status)) {
        o.end = ending::crash;
        o.call = "signal " + std::to_string(WTERMSIG(status));
        o.detail = "the process was ended by signal " + std::to_string(WTERMSIG(status)) + " (" + ::strsignal(WTERMSIG(status)) + ")";
    } else if (!o.said.ended && !o.said.trapped) {
        o.end = ending::exit;
        const auto where = progress::in_calls();
        o.call = where;
        o.detail = "the process was ended by exit with status " + std::to_string(WEXITSTATUS(status)) + (where.empty() ? "" : " in " + where) +
                   ": a plugin never ends the process; fail the operation, or start, with a text instead";
    }
    return o;
}

/// The check that is best known to own such an end, when it saw it too.
std::string preferred_owner(const observation& o) {
    if (o.end == ending::exit) return "operations.no_exit";
    if (o.call.find("cancel()") != std::string::npos) return "operations.cancel_after";
    for (const char* function : {"dlopen", CG_ENTRY_SYMBOL})
        if (o.call.find(function) != std::string::npos) return "library.loads";
    for (const char* function : {" create", " start", " shard_attach", " shard_detach", " drain", " stop", " destroy", " health"})
        if ((" " + o.call).find(function + std::string("()")) != std::string::npos) return "lifecycle.good_configs";
    return "operations.no_crash";
}

class attribution {
  public:
    attribution(const settings& s, std::vector<check_result>& results) : settings_(s), results_(results) {
        for (auto& r : results_) by_name_[r.name] = &r;
    }

    void add(const std::vector<observation>& all) {
        for (const auto& o : all) findings(o);
        endings(all);
        for (const auto& o : all) rest(o);
    }

  private:
    [[nodiscard]] bool disabled(const std::string& check) const { return std::ranges::find(settings_.disabled, check) != settings_.disabled.end(); }

    void fail(check_result& r, const std::string& text, const observation& o) {
        r.status = check_status::failed;
        if (std::ranges::find(r.seen_in, o.test->name) == r.seen_in.end()) r.seen_in.emplace_back(o.test->name);
        if (r.texts.size() < 5 && std::ranges::find(r.texts, text) == r.texts.end()) r.texts.push_back(text);
    }

    static std::string with_output(const observation& o) { return o.output.empty() ? "" : "\n  printed: " + o.output; }

    void findings(const observation& o) {
        for (const auto& v : o.said.violations) {
            if (disabled(v.check)) continue;
            const auto owner = by_name_.find(v.check);
            auto& r = owner != by_name_.end() ? *owner->second : *by_name_.at(o.test->name);
            std::string text = owner != by_name_.end() ? v.text : "[" + v.check + "] " + v.text;
            if (o.said.trapped) text += with_output(o);
            // Only the fuzzer's own notes tell how to see it again.
            if (v.check != o.test->name && std::string_view(o.test->name).starts_with("fuzz.") && !o.said.notes.empty()) text += " (after " + o.said.notes.back() + ")";
            fail(r, text, o);
        }
    }

    void endings(const std::vector<observation>& all) {
        std::map<std::string, std::vector<const observation*>> groups;
        for (const auto& o : all)
            if (o.end != ending::normal) groups[std::to_string(static_cast<int>(o.end)) + (o.end == ending::exit ? "" : o.call)].push_back(&o);
        for (auto& [key, seen] : groups) {
            const observation* owner = seen.front();
            // A thread that outlives stop also runs into what is gone: the same fault, seen by luck.
            const auto silent = by_name_.find("lifecycle.silent_after_stop");
            if (owner->end == ending::crash && owner->call.find("on a thread of the plugin") != std::string::npos && silent != by_name_.end() &&
                silent->second->status == check_status::failed) {
                for (const auto* o : seen) block(*by_name_.at(o->test->name), o->detail, silent->first);
                continue;
            }
            for (const auto* o : seen)
                if (o->test->name == preferred_owner(*o)) owner = o;
            // An exit breaks one rule wherever it happens.
            const auto named = by_name_.find(preferred_owner(*owner));
            auto& r = owner->end == ending::exit && named != by_name_.end() ? *named->second : *by_name_.at(owner->test->name);
            auto text = owner->detail + with_output(*owner);
            if (!owner->said.notes.empty()) text += "\n  last: " + owner->said.notes.back();
            if (!disabled(r.name)) fail(r, text, *owner);
            for (const auto* o : seen)
                if (o->test->name != r.name) block(*by_name_.at(o->test->name), o->detail, r.name);
        }
    }

    static void block(check_result& r, const std::string& reason, const std::string& by) {
        if (r.status == check_status::failed) return;
        r.status = check_status::blocked;
        r.texts = {(by.empty() ? "" : "by " + by + ": ") + reason};
    }

    void rest(const observation& o) {
        auto& r = *by_name_.at(o.test->name);
        r.seconds = o.seconds;
        r.notes = o.said.notes;
        if (r.status != check_status::passed) return;
        if (!o.said.skipped.empty()) {
            r.status = check_status::skipped;
            r.texts = {o.said.skipped};
        } else if (!o.said.blocked.empty()) {
            block(r, o.said.blocked, o.said.blocked_by);
        } else if (o.said.trapped) {
            block(r, o.said.violations.back().text, o.said.violations.back().check);
        }
    }

    const settings& settings_;
    std::vector<check_result>& results_;
    std::map<std::string, check_result*> by_name_;
};

bool selected(const settings& s, const std::string& name) {
    const auto matches = [&](const std::vector<std::string>& patterns) {
        return std::ranges::any_of(patterns, [&](const auto& p) { return std::regex_search(name, std::regex(p)); });
    };
    return (s.include.empty() || matches(s.include)) && !matches(s.exclude);
}

}  // namespace

std::uint32_t find_kind(const settings& s) {
    auto* shared = static_cast<std::uint32_t*>(::mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
    const pid_t child = ::fork();
    if (child == 0) {
        const int nothing = ::open("/dev/null", O_RDWR | O_CLOEXEC);
        ::dup2(nothing, 1);
        ::dup2(nothing, 2);
        recorder::open(nothing);
        try {
            *shared = load_plugin(s, s.plugin).kind;
        } catch (const std::exception&) {
            *shared = 0;
        }
        ::_exit(0);
    }
    int status = 0;
    if (!wait_for(child, s.timeout, status)) {
        ::kill(child, SIGKILL);
        ::waitpid(child, &status, 0);
    }
    const auto kind = *shared;
    ::munmap(shared, 4096);
    return kind;
}

std::vector<check_result> run_checks(const settings& s, std::uint32_t kind, const std::function<void(const check_entry&)>& finished) {
    the_stall_limits().blocked_ns = s.block_limit.count() * 1'000'000;
    std::vector<check_result> results;
    std::vector<observation> observations;
    std::vector<const check_entry*> to_run;
    for (const auto& c : all_checks()) {
        // What is about another kind of plugin is no result of this one's.
        if (!selected(s, c.name) || (c.kinds != 0 && kind != 0 && (c.kinds & (1u << kind)) == 0)) continue;
        check_result r;
        r.name = c.name;
        r.summary = c.summary;
        to_run.push_back(&c);
        results.push_back(std::move(r));
    }
    for (const auto* c : to_run) {
        auto mine = s;
        // What was seen not to answer is not waited for again and again.
        const bool silent = std::ranges::any_of(observations, [](const auto& o) {
            return std::ranges::any_of(o.said.violations, [](const auto& v) { return v.check == "operations.completes"; });
        });
        if (silent) mine.patience = std::min(mine.patience, std::max(std::chrono::milliseconds(100), s.patience / 10));
        observations.push_back(observe(*c, mine, kind));
        finished(*c);
    }
    attribution(s, results).add(observations);
    return results;
}

}  // namespace callgate::check
