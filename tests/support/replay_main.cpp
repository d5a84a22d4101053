// SPDX-License-Identifier: Apache-2.0
// Runs a fuzz target over the files of its corpus, each also truncated and with single bytes changed, so
// that an ordinary compiler finds what the corpus once found.
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

int main(int argc, char** argv) {
    std::size_t files = 0, runs = 0;
    auto run = [&](const std::vector<std::uint8_t>& v) {
        ++runs;
        LLVMFuzzerTestOneInput(v.data(), v.size());
    };
    for (int i = 1; i < argc; ++i) {
        for (const auto& entry : std::filesystem::recursive_directory_iterator(argv[i])) {
            if (!entry.is_regular_file()) continue;
            std::ifstream in(entry.path(), std::ios::binary);
            const std::vector<std::uint8_t> whole{std::istreambuf_iterator<char>(in), {}};
            ++files;
            run(whole);
            const std::size_t step = std::max<std::size_t>(1, whole.size() / 256);
            for (std::size_t n = 0; n < whole.size(); n += step) {
                run({whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(n)});
                auto changed = whole;
                changed[n] = static_cast<std::uint8_t>(changed[n] ^ (1u << (n % 8)));
                run(changed);
            }
        }
    }
    std::printf("%zu files, %zu runs\n", files, runs);
    return files == 0 ? 1 : 0;
}
