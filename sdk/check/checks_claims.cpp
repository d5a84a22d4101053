// SPDX-License-Identifier: Apache-2.0
// Group "claims": the contract of callgate/abi/draft/claim_store.h.
#include "sdk/check/claim_store_suite.hpp"
#include "sdk/check/registry.hpp"

namespace callgate::check {

void add_claim_checks(std::vector<check_entry>& out) {
    for (const auto& c : claim_store_checks()) {
        const std::string name = "claims." + std::string(c.name);
        out.push_back({name, std::string(c.promise), claims_only, [name, run = c.run](const settings& s) {
                           const auto p = load_plugin(s, s.plugin);
                           claim_store_subject subject;
                           subject.factory = p.factory;
                           subject.config_json = s.good[0].json;
                           subject.folder = s.good[0].base_dir;
                           subject.seed = s.seed;
                           subject.kills = 4;
                           try {
                               run(subject);
                           } catch (const std::exception& e) {
                               recorder::violated(name, std::string("the store breaks this promise of claim_store.h: ") + e.what());
                           }
                       }});
    }
}

}  // namespace callgate::check
