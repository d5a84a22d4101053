// SPDX-License-Identifier: Apache-2.0
// Group "lifecycle", second part: what belongs to the process stays as it was.
#include "sdk/check/process_state.hpp"
#include "sdk/check/registry.hpp"
#include "sdk/check/workload.hpp"

namespace callgate::check {
namespace {

struct seen_state {
    process_state before, after;
};

// A whole life with some operations in it.
seen_state live(const settings& s) {
    const auto before = read_process_state();
    const auto p = load_plugin(s, s.plugin);
    for (const auto& config : s.good) {
        instance i(s, p, config);
        i.up();
        try {
            const auto w = workload::of(i);
            std::vector<cg_op> ops(4);
            i.on_shard(0, [&] {
                for (auto& op : ops) op = w->begin(0, {});
            });
            i.must_complete(ops);
        } catch (const not_applicable&) {
        }
        i.down();
    }
    return {before, read_process_state()};
}

std::string shortened(const std::string& text) { return text.size() <= 200 ? text : text.substr(0, 200) + "..."; }

// The part in which two long texts differ.
std::string difference(const std::string& a, const std::string& b) {
    std::size_t at = 0;
    while (at < a.size() && at < b.size() && a[at] == b[at]) ++at;
    const auto from = at < 20 ? 0 : at - 20;
    return "before \"" + shortened(a.substr(from, 80)) + "\", after \"" + shortened(b.substr(from, 80)) + "\"";
}

template <const char* const& Check, const char* const& Advice>
void kept(const settings& s) {
    const auto seen = live(s);
    const auto& a = seen.before.at(Check);
    const auto& b = seen.after.at(Check);
    if (a != b) recorder::violated(Check, std::string(Advice) + "; " + difference(a, b));
}

#define KEPT(symbol, name, advice)                                \
    constexpr const char* symbol##_name = "lifecycle." name;      \
    constexpr const char* symbol##_advice = advice;

KEPT(umask, "keeps_umask", "the umask is the process's: give the mode to open() or use fchmod() instead of umask()")
KEPT(directory, "keeps_directory", "the working directory is the process's: use openat() or full paths (base_dir of create's arguments) instead of chdir()")
KEPT(locale, "keeps_locale", "the locale is the process's and changes how everybody prints numbers: use newlocale() and the _l functions instead of setlocale()")
KEPT(signals, "keeps_signals", "handlers and masks of signals are the daemon's: install none, and block what is needed in threads of the plugin only")
KEPT(environment, "keeps_environment", "the environment is read by every thread without a lock: no setenv(), putenv() or unsetenv()")
KEPT(openssl, "keeps_openssl", "OpenSSL's default context is the process's: make an OSSL_LIB_CTX of the plugin's own for providers and configuration")
KEPT(float_mode, "keeps_float_mode", "the rounding mode of floating-point arithmetic was left changed on the control thread")

void keeps_curl(const settings& s) {
    (void)live(s);
    for (const auto& call : seen_calls().curl)
        recorder::violated("lifecycle.keeps_curl", "the plugin calls " + call + "(): libcurl's global state is the daemon's, which initialises it before any plugin is loaded; use the host's "
                                                       "callgate.http-client/1, or only curl_easy_* and curl_multi_*");
}

void no_fork(const settings& s) {
    watch_forks();
    const auto children = resources::now().children;
    (void)live(s);
    if (seen_calls().forks != 0 || resources::now().children > children)
        recorder::violated("lifecycle.no_fork", "the plugin makes child processes: the daemon holds keys and locks that a child would inherit; ask a service over a socket instead");
}

}  // namespace

void add_process_checks(std::vector<check_entry>& out) {
    out.insert(out.end(), {
        {umask_name, "the umask stays", 0, kept<umask_name, umask_advice>},
        {directory_name, "the working directory stays", 0, kept<directory_name, directory_advice>},
        {locale_name, "the locale stays", 0, kept<locale_name, locale_advice>},
        {signals_name, "handlers and masks of signals stay", 0, kept<signals_name, signals_advice>},
        {environment_name, "the environment stays", 0, kept<environment_name, environment_advice>},
        {openssl_name, "OpenSSL's default context and providers stay", 0, kept<openssl_name, openssl_advice>},
        {float_mode_name, "the rounding mode stays", 0, kept<float_mode_name, float_mode_advice>},
        {"lifecycle.keeps_curl", "libcurl's global state is left alone", 0, keeps_curl},
        {"lifecycle.no_fork", "no child process is made", 0, no_fork},
    });
}

}  // namespace callgate::check
