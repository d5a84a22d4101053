// SPDX-License-Identifier: Apache-2.0
#include "sdk/check/process_state.hpp"

#include <dirent.h>
#include <dlfcn.h>
#include <fenv.h>
#include <locale.h>
#include <malloc.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/provider.h>
#include <pthread.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <fstream>
#include <mutex>

extern "C" char** environ;

namespace callgate::check {
namespace {

std::size_t count_entries(const char* directory) {
    std::size_t n = 0;
    DIR* d = ::opendir(directory);
    if (d == nullptr) return 0;
    while (const dirent* e = ::readdir(d)) n += e->d_name[0] != '.' ? 1 : 0;
    ::closedir(d);
    return n;
}

std::string signal_table() {
    std::string out;
    for (int n = 1; n < NSIG; ++n) {
        struct sigaction a {};
        if (::sigaction(n, nullptr, &a) != 0) continue;
        const void* handler = nullptr;
        std::memcpy(&handler, &a.sa_handler, sizeof handler);
        char text[64];
        std::snprintf(text, sizeof text, "%d:%p/%x ", n, handler, static_cast<unsigned>(a.sa_flags));
        out += text;
    }
    sigset_t mask;
    ::pthread_sigmask(SIG_SETMASK, nullptr, &mask);
    out += "blocked:";
    for (int n = 1; n < NSIG; ++n)
        if (sigismember(&mask, n) == 1) out += " " + std::to_string(n);
    return out;
}

std::string environment() {
    std::string out;
    for (char** e = environ; e != nullptr && *e != nullptr; ++e) out += std::string(*e) + "\n";
    return out;
}

std::string openssl_state() {
    std::string out;
    const auto add = [](OSSL_PROVIDER* p, void* to) {
        *static_cast<std::string*>(to) += std::string(" ") + OSSL_PROVIDER_get0_name(p);
        return 1;
    };
    OSSL_PROVIDER_do_all(nullptr, add, &out);
    out += EVP_default_properties_is_fips_enabled(nullptr) == 1 ? " fips" : "";
    char context[32];
    // A replaced default context is another object.
    OSSL_LIB_CTX* current = OSSL_LIB_CTX_set0_default(nullptr);
    std::snprintf(context, sizeof context, " context %p", static_cast<void*>(current));
    return out + context;
}

std::string current_directory() {
    char path[4096];
    return ::getcwd(path, sizeof path) == nullptr ? "" : path;
}

std::string mask_of_files() {
    const auto mask = ::umask(0);
    ::umask(mask);
    return std::to_string(mask);
}

std::mutex curl_mutex;

}  // namespace

resources resources::now() {
    resources r;
    r.threads = count_entries("/proc/self/task");
    r.descriptors = count_entries("/proc/self/fd");
    std::ifstream tasks("/proc/self/task/" + std::to_string(::getpid()) + "/children");
    for (std::string pid; tasks >> pid;) ++r.children;
    std::ifstream maps("/proc/self/maps");
    for (std::string line; std::getline(maps, line);) ++r.mappings;
    using allocated_fn = std::size_t (*)();
    static const auto sanitizer = reinterpret_cast<allocated_fn>(::dlsym(RTLD_DEFAULT, "__sanitizer_get_current_allocated_bytes"));
    if (sanitizer != nullptr) {
        r.heap_bytes = sanitizer();
    } else {
        const auto info = ::mallinfo2();
        r.heap_bytes = info.uordblks + info.hblkhd;
    }
    return r;
}

process_state read_process_state() {
    process_state s;
    s["lifecycle.keeps_umask"] = mask_of_files();
    s["lifecycle.keeps_directory"] = current_directory();
    s["lifecycle.keeps_locale"] = ::setlocale(LC_ALL, nullptr);
    s["lifecycle.keeps_signals"] = signal_table();
    s["lifecycle.keeps_environment"] = environment();
    s["lifecycle.keeps_openssl"] = openssl_state();
    s["lifecycle.keeps_float_mode"] = std::to_string(::fegetround());
    return s;
}

process_calls& seen_calls() {
    static auto* calls = new process_calls;
    return *calls;
}

void watch_forks() {
    ::pthread_atfork([] { ++seen_calls().forks; }, nullptr, nullptr);
}

namespace {

void note_curl(const char* function) {
    const std::lock_guard lock(curl_mutex);
    seen_calls().curl.emplace_back(function);
}

// The library came with the plugin, so it is in no scope that RTLD_NEXT searches.
template <class F>
F next(const char* name) {
    for (const char* library : {"libcurl.so.4", "libcurl-gnutls.so.4", "libcurl-nss.so.4"})
        if (void* handle = ::dlopen(library, RTLD_LAZY | RTLD_NOLOAD); handle != nullptr) return reinterpret_cast<F>(::dlsym(handle, name));
    return nullptr;
}

}  // namespace
}  // namespace callgate::check

// The plugin's calls bind to these, since the executable comes first in the search for symbols; the library itself is not
// linked. State inside libcurl has no other way to be seen.
extern "C" {
__attribute__((visibility("default"))) int curl_global_init(long flags) {
    callgate::check::note_curl("curl_global_init");
    const auto real = callgate::check::next<int (*)(long)>("curl_global_init");
    return real != nullptr ? real(flags) : 0;
}
__attribute__((visibility("default"))) int curl_global_init_mem(long flags, void* m, void* f, void* r, void* s, void* c) {
    callgate::check::note_curl("curl_global_init_mem");
    const auto real = callgate::check::next<int (*)(long, void*, void*, void*, void*, void*)>("curl_global_init_mem");
    return real != nullptr ? real(flags, m, f, r, s, c) : 0;
}
__attribute__((visibility("default"))) void curl_global_cleanup(void) {
    callgate::check::note_curl("curl_global_cleanup");
    if (const auto real = callgate::check::next<void (*)()>("curl_global_cleanup")) real();
}
__attribute__((visibility("default"))) int curl_global_sslset(int id, const char* name, const void*** avail) {
    callgate::check::note_curl("curl_global_sslset");
    const auto real = callgate::check::next<int (*)(int, const char*, const void***)>("curl_global_sslset");
    return real != nullptr ? real(id, name, avail) : 0;
}
}
