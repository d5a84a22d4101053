// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <iosfwd>
#include <string>

#include "engine/base/error.hpp"

namespace callgate::cli {

struct plugin_new_request {
    std::string name;            ///< a letter, then letters, digits and single _; small; at most 40; no _ at the end
    std::string language = "c++";  ///< "c++" or "c"
    std::string directory;       ///< folder to write into; empty = one called like the plugin, here
    std::string templates;       ///< folder with cpp/ and c/; empty = ../share/callgate/template of this executable
};

/// `callgate plugin new NAME`: a project that builds with the installed SDK: the template with every `my_auth`, in texts
/// and file names, replaced by the name. Nothing that exists is overwritten: when one of the files is there, nothing is
/// written at all; when writing fails, what was written is taken away again. Says on `out` what to run next.
[[nodiscard]] result<void> run_plugin_new(const plugin_new_request& request, std::ostream& out);

}  // namespace callgate::cli
