# SPDX-License-Identifier: Apache-2.0
# Language, warnings, hardening, sanitizers: the same for every target of ours.
set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_C_STANDARD 11)
set(CMAKE_C_EXTENSIONS OFF)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_CXX_VISIBILITY_PRESET hidden)
set(CMAKE_C_VISIBILITY_PRESET hidden)
set(CMAKE_VISIBILITY_INLINES_HIDDEN ON)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
set(CMAKE_RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bin)
# Plugins land here; the daemon looks in <its own directory>/../plugins first.
set(CALLGATE_PLUGIN_DIR ${CMAKE_BINARY_DIR}/plugins.d)

if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE RelWithDebInfo CACHE STRING "" FORCE)
endif()
# Assertions stay on: they are cheap here and a daemon that guards logins must not run on after a broken invariant.
set(CMAKE_CXX_FLAGS_RELWITHDEBINFO "-O2 -g1")
set(CMAKE_C_FLAGS_RELWITHDEBINFO "-O2 -g1")

find_program(CALLGATE_CCACHE ccache)
if(CALLGATE_CCACHE)
  set(CMAKE_C_COMPILER_LAUNCHER ${CALLGATE_CCACHE})
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CALLGATE_CCACHE})
endif()
find_program(CALLGATE_MOLD mold)
if(CALLGATE_MOLD AND CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  add_link_options(-fuse-ld=mold)
endif()

add_compile_options(-Wall -Wextra -Wpedantic -Wshadow -Werror=return-type
                    -ffile-prefix-map=${CMAKE_SOURCE_DIR}/=)
add_compile_options($<$<COMPILE_LANGUAGE:CXX>:-Wnon-virtual-dtor>)
if(CALLGATE_SANITIZE STREQUAL "address")
  add_compile_options(-O1 -g1 -fno-omit-frame-pointer -fsanitize=address,undefined
                      -fno-sanitize=null,alignment,vptr,object-size -fno-sanitize-recover=undefined)
  add_link_options(-fsanitize=address,undefined)
elseif(CALLGATE_SANITIZE STREQUAL "thread")
  add_compile_options(-O1 -g1 -fno-omit-frame-pointer -fsanitize=thread)
  add_link_options(-fsanitize=thread)
else()
  add_compile_options(-fstack-protector-strong -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2)
  add_link_options(-Wl,-z,relro -Wl,-z,now -Wl,-z,noexecstack)
endif()
if(CALLGATE_FUZZ)
  # libFuzzer steers by coverage: of the code under test, not only of the target's own file.
  add_compile_options(-fsanitize=fuzzer-no-link)
endif()
add_compile_definitions($<$<COMPILE_LANGUAGE:CXX>:SPDLOG_COMPILED_LIB> $<$<COMPILE_LANGUAGE:CXX>:SPDLOG_FMT_EXTERNAL>
                        $<$<COMPILE_LANGUAGE:CXX>:BOOST_ALLOW_DEPRECATED_HEADERS>)
