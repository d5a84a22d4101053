// SPDX-License-Identifier: Apache-2.0
#include "my_auth.hpp"

#include <callgate/sdk/config.hpp>
#include <fstream>
#include <sstream>
#include <sys/stat.h>

using namespace callgate::sdk;
using namespace std::chrono_literals;

namespace {

constexpr std::size_t min_token = 16, max_line = 1024, max_entries = 10'000;

// The time it takes depends on the lengths alone, never on where the texts differ.
bool same_secret(std::string_view a, std::string_view b) noexcept {
    unsigned difference = a.size() == b.size() ? 0 : 1;
    for (std::size_t i = 0; i < a.size(); ++i)
        difference |= static_cast<unsigned char>(a[i]) ^ static_cast<unsigned char>(b[i < b.size() ? i : 0]);
    return difference == 0;
}

}  // namespace

std::unique_ptr<auth_backend> my_auth_backend::create(host_ref host, const create_args& args) {
    const auto config = config_view::parse(args.config_json);
    config.only({"file", "cache_ttl"});
    const auto ttl = config.duration_or("cache_ttl", 0s, 0s, 5min);
    std::string file;
    if (config.has("file")) file = args.resolve(config.at("file").string());
    return std::make_unique<my_auth_backend>(host, file, static_cast<std::uint32_t>(ttl / 1s));
}

my_auth_backend::my_auth_backend(host_ref host, std::string file, std::uint32_t cache_ttl_s)
    : auth_backend(host), file_(std::move(file)), cache_ttl_s_(cache_ttl_s) {}

void my_auth_backend::start(op_handle&& op) {
    // An exception on the way answers the operation with its text.
    entries_ = read_file();
    host().log(log_level::info, "tokens read", {{"file", file_}, {"count", std::to_string(entries_.size())}});
    op.succeed();
}

std::vector<my_auth_backend::entry> my_auth_backend::read_file() const {
    std::vector<entry> out;
    if (file_.empty()) return out;
    struct stat st {};
    if (::stat(file_.c_str(), &st) != 0) throw status_error(CG_E_NOT_FOUND, "cannot find it", file_);
    if (!S_ISREG(st.st_mode)) throw status_error(CG_E_INVALID, "is not a file", file_);
    if ((st.st_mode & 077) != 0) throw status_error(CG_E_PERMISSION, "others may read the tokens in it; run chmod 600", file_);
    std::ifstream in(file_);
    std::string line;
    for (std::size_t number = 1; std::getline(in, line); ++number) {
        const std::string where = file_ + ":" + std::to_string(number);
        if (line.size() > max_line) throw status_error(CG_E_INVALID, "this line is longer than 1024 bytes", where);
        std::istringstream words(line);
        entry e;
        std::string more;
        if (!(words >> e.subject) || e.subject.starts_with('#')) continue;
        // The text of an error never shows the token.
        if (!(words >> e.token) || words >> more) throw status_error(CG_E_INVALID, "a line is SUBJECT TOKEN", where);
        if (e.token.size() < min_token) throw status_error(CG_E_INVALID, "a token has at least 16 characters", where);
        if (out.size() == max_entries) throw status_error(CG_E_INVALID, "more than 10000 tokens", where);
        out.push_back(std::move(e));
    }
    if (in.bad() || !in.eof()) throw status_error(CG_E_UNAVAILABLE, "cannot read it", file_);
    return out;
}

const my_auth_backend::entry* my_auth_backend::find(std::string_view token) const noexcept {
    const entry* found = nullptr;
    for (const auto& e : entries_)
        if (same_secret(token, e.token)) found = &e;  // goes on, so that the place in the file does not show
    return found;
}

void my_auth_backend::authenticate(shard_state*, op_handle&& op, const request_view& request) {
    reply_builder reply;
    if (request.credential().empty()) {
        // Not for us: the next backend of the route's chain decides.
        reply.abstain("no_credential", "the client sent nothing where the route looks").send(op);
        return;
    }
    const entry* known = find(request.credential());
    if (known == nullptr) {
        reply.deny("unknown_token", "the token is not in the file").explain("token", "not found").send(op);
        return;
    }
    reply.allow(known->subject).issuer(host().instance_name()).cache_for(cache_ttl_s_).explain("token", "found").send(op);
}
