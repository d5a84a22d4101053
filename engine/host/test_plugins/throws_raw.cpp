// SPDX-License-Identifier: Apache-2.0
// Auth backend without the SDK, whose exceptions leave its functions: the token "throw" throws, all others are denied;
// {"throw": "create"} and {"throw": "start"} throw there.
#include <callgate/abi/auth_backend.h>

#include <stdexcept>
#include <string_view>

#include "test_plugin.h"

namespace {

struct backend {
    cg_instance base;
    const cg_host* host;
    bool throws_in_start;
};

void complete(cg_instance* i, cg_op op, const void* result) {
    const auto* b = reinterpret_cast<backend*>(i);
    const cg_completion c = {sizeof c, CG_OK, result, nullptr, nullptr, nullptr};
    b->host->core->complete(b->host, op, &c);
}
cg_status authenticate(cg_instance* i, void*, cg_op op, const cg_auth_request* r) {
    if (is(r->auth_token, "throw")) throw std::runtime_error("no guard around this");
    cg_auth_reply reply{};
    reply.struct_size = sizeof reply;
    reply.verdict = CG_VERDICT_DENY;
    reply.reason_id = str("not_thrown");
    complete(i, op, &reply);
    return CG_OK;
}
cg_status start(cg_instance* i, cg_op op) {
    if (reinterpret_cast<backend*>(i)->throws_in_start) throw std::runtime_error("in start");
    complete(i, op, nullptr);
    return CG_OK;
}
void destroy(cg_instance* i) { delete reinterpret_cast<backend*>(i); }

const cg_lifecycle lifecycle = {sizeof(cg_lifecycle), 0, start, nullptr, nullptr, nullptr, nullptr, destroy, nullptr, nullptr};
const cg_auth_backend_api api = {sizeof(cg_auth_backend_api), 0, authenticate};

cg_status create(const cg_factory*, const cg_host* host, const cg_create_args* args, cg_instance** out, cg_errbuf*) {
    const std::string_view config(args->config_json.data, args->config_json.size);
    if (config.find("create") != std::string_view::npos) throw std::runtime_error("in create");
    auto* b = new backend{};
    b->host = host;
    b->throws_in_start = config.find("start") != std::string_view::npos;
    *out = test_instance(&b->base, CG_KIND_AUTH_BACKEND, &lifecycle, &api);
    return CG_OK;
}

}  // namespace

extern "C" {
TEST_PLUGIN("org.callgate.test.throws_raw", CG_KIND_AUTH_BACKEND, CG_THREADS_PER_SHARD, 0, "throws_raw");
}
