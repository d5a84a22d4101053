# SPDX-License-Identifier: Apache-2.0
# callgate_add_plugin(auth_foo SOURCES foo.cpp ... [LIBS target ...])
# makes target plugin_auth_foo: the loadable module callgate_auth_foo.so, which exports cg_plugin_entry_v1 and
# nothing else. Sources in C++ get callgate::sdk and C++20, sources in C alone get callgate::abi and C11; a project of
# C alone needs no C++ compiler. The module lands in CALLGATE_PLUGIN_DIR where that is set, otherwise where CMake puts
# modules (the current binary directory).
function(callgate_add_plugin name)
  cmake_parse_arguments(P "" "" "SOURCES;LIBS" ${ARGN})
  if(P_UNPARSED_ARGUMENTS)
    message(FATAL_ERROR "callgate_add_plugin(${name}): unknown arguments ${P_UNPARSED_ARGUMENTS}; it takes SOURCES and LIBS")
  endif()
  if(NOT P_SOURCES)
    message(FATAL_ERROR "callgate_add_plugin(${name}): SOURCES is missing")
  endif()
  # The name is a file name and what the configuration says after `plugin:`.
  if(NOT name MATCHES "^[a-z][a-z0-9_]*$")
    message(FATAL_ERROR "callgate_add_plugin(${name}): a plugin's name has small letters, digits and _, and starts with a letter")
  endif()
  set(target plugin_${name})
  set(map ${CMAKE_CURRENT_FUNCTION_LIST_DIR}/plugin.map)
  add_library(${target} MODULE ${P_SOURCES})
  set_target_properties(${target} PROPERTIES
    PREFIX "" SUFFIX ".so" OUTPUT_NAME callgate_${name}
    CXX_VISIBILITY_PRESET hidden C_VISIBILITY_PRESET hidden VISIBILITY_INLINES_HIDDEN ON
    LINK_DEPENDS ${map})
  if(CALLGATE_PLUGIN_DIR)
    set_target_properties(${target} PROPERTIES LIBRARY_OUTPUT_DIRECTORY ${CALLGATE_PLUGIN_DIR})
  endif()
  set(in_cxx ${P_SOURCES})
  list(FILTER in_cxx INCLUDE REGEX "\\.(cpp|cc|cxx|C)$")
  if(in_cxx)
    target_compile_features(${target} PRIVATE cxx_std_20)
    # UNIQUE symbols are shared between all plugins whatever RTLD_LOCAL and the version script say.
    if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
      target_compile_options(${target} PRIVATE $<$<COMPILE_LANGUAGE:CXX>:-fno-gnu-unique>)
    endif()
    target_link_libraries(${target} PRIVATE callgate::sdk)
  else()
    target_compile_features(${target} PRIVATE c_std_11)
    target_link_libraries(${target} PRIVATE callgate::abi)
  endif()
  target_link_options(${target} PRIVATE -Wl,--version-script=${map} -Wl,--exclude-libs,ALL
    -Wl,-z,relro -Wl,-z,now -Wl,-z,noexecstack)
  # A sanitizer's run time is in the executable; its symbols stay undefined here on purpose.
  if(NOT CALLGATE_SANITIZE AND NOT "${CMAKE_C_FLAGS} ${CMAKE_CXX_FLAGS}" MATCHES "-fsanitize=")
    target_link_options(${target} PRIVATE -Wl,-z,defs)
  endif()
  target_link_libraries(${target} PRIVATE ${P_LIBS})
endfunction()
