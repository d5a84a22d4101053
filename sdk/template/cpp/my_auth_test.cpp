// SPDX-License-Identifier: Apache-2.0
// Runs the plugin through its C interface on a host whose clock and answers belong to the test.
#include "my_auth.hpp"

#include <callgate/sdk/testing/driver.hpp>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <sys/stat.h>
#include <unistd.h>

using namespace callgate::sdk;
using test::driver;
using test::fake_host;

namespace {

int failures = 0;
#define EXPECT(condition)                                                                     \
    do {                                                                                      \
        if (!(condition)) {                                                                   \
            std::fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition);      \
            ++failures;                                                                       \
        }                                                                                     \
    } while (false)

constexpr const cg_factory& factory = factory_of<my_auth_backend>;

struct folder {
    std::string path = "/tmp/my_auth_XXXXXX";
    folder() {
        if (::mkdtemp(path.data()) == nullptr) std::abort();
    }
    ~folder() {
        ::unlink((path + "/tokens").c_str());
        ::rmdir(path.c_str());
    }
    void write(const std::string& text, mode_t mode = 0600) const {
        const std::string file = path + "/tokens";
        std::ofstream(file, std::ios::trunc) << text;
        ::chmod(file.c_str(), mode);
    }
};

std::string create_fault(const std::string& config) {
    fake_host host;
    try {
        driver d(host, factory, config);
    } catch (const std::exception& e) {
        return e.what();
    }
    return "";
}

std::string start_fault(const folder& dir, const std::string& text, mode_t mode = 0600) {
    dir.write(text, mode);
    fake_host host;
    driver d(host, factory, R"({"file": "tokens"})", dir.path);
    const auto c = d.start();
    return c.status == CG_OK ? "" : c.where.substr(dir.path.size() + 1) + ": " + c.error;
}

test::completion ask(driver& d, const std::string& credential) {
    test::test_request request;
    request.credential = credential;
    return d.authenticate(request);
}

void decides() {
    const folder dir;
    dir.write("# who  token\nalice   0123456789abcdef\nbob     fedcba9876543210\n");
    fake_host host("tokens");
    driver d(host, factory, R"({"file": "tokens", "cache_ttl": "1m"})", dir.path);
    EXPECT(d.start().status == CG_OK);

    const auto known = ask(d, "fedcba9876543210");
    EXPECT(known.verdict == CG_VERDICT_ALLOW);
    EXPECT(known.subject == "bob");
    EXPECT(known.issuer == "tokens");
    EXPECT(known.cache_ttl_s == 60);

    for (const char* wrong : {"fedcba9876543211", "fedcba987654321", "fedcba98765432100", "alice", "#"}) {
        const auto c = ask(d, wrong);
        EXPECT(c.verdict == CG_VERDICT_DENY);
        EXPECT(c.reason_id == "unknown_token");
        EXPECT(!c.has_identity);
    }
    EXPECT(ask(d, "").verdict == CG_VERDICT_ABSTAIN);
    EXPECT(d.stop().status == CG_OK);
    EXPECT(host.faults() == 0);
    EXPECT(!host.logged("fedcba9876543210"));
}

void knows_nobody_without_a_file() {
    fake_host host;
    driver d(host, factory, "{}");
    EXPECT(d.start().status == CG_OK);
    EXPECT(ask(d, "0123456789abcdef").verdict == CG_VERDICT_DENY);
}

void names_what_is_wrong() {
    EXPECT(create_fault(R"({"cache_ttl": "1h"})").starts_with("cache_ttl: must be from"));
    EXPECT(create_fault(R"({"fil": "x"})").starts_with("fil: this key is not known"));
    const folder dir;
    EXPECT(start_fault(dir, "alice 0123456789abcdef\n", 0640) == "tokens: others may read the tokens in it; run chmod 600");
    EXPECT(start_fault(dir, "\nalice\n") == "tokens:2: a line is SUBJECT TOKEN");
    EXPECT(start_fault(dir, "alice short\n") == "tokens:1: a token has at least 16 characters");
    EXPECT(start_fault(dir, "") == "");
}

}  // namespace

int main() {
    decides();
    knows_nobody_without_a_file();
    names_what_is_wrong();
    if (failures == 0) std::puts("all as expected");
    return failures == 0 ? 0 : 1;
}
