# SPDX-License-Identifier: Apache-2.0
# callgate_add_plugin(auth_foo SOURCES foo.cpp ... LIBS target ...)
# makes target plugin_auth_foo: the loadable module callgate_auth_foo.so in CALLGATE_PLUGIN_DIR, exporting
# cg_plugin_entry_v1 and nothing else.
set(CALLGATE_PLUGIN_MAP ${CMAKE_CURRENT_LIST_DIR}/plugin.map)
if(NOT CALLGATE_PLUGIN_DIR)
  set(CALLGATE_PLUGIN_DIR ${CMAKE_BINARY_DIR}/plugins.d)
endif()

function(callgate_add_plugin name)
  cmake_parse_arguments(P "" "" "SOURCES;LIBS" ${ARGN})
  if(NOT P_SOURCES)
    message(FATAL_ERROR "callgate_add_plugin(${name}): SOURCES is missing")
  endif()
  set(target plugin_${name})
  add_library(${target} MODULE ${P_SOURCES})
  set_target_properties(${target} PROPERTIES
    PREFIX "" OUTPUT_NAME callgate_${name}
    LIBRARY_OUTPUT_DIRECTORY ${CALLGATE_PLUGIN_DIR}
    CXX_VISIBILITY_PRESET hidden C_VISIBILITY_PRESET hidden VISIBILITY_INLINES_HIDDEN ON
    LINK_DEPENDS ${CALLGATE_PLUGIN_MAP})
  target_compile_features(${target} PRIVATE cxx_std_20)
  # UNIQUE symbols are shared between all plugins whatever RTLD_LOCAL and the version script say.
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    target_compile_options(${target} PRIVATE $<$<COMPILE_LANGUAGE:CXX>:-fno-gnu-unique>)
  endif()
  target_link_options(${target} PRIVATE -Wl,--version-script=${CALLGATE_PLUGIN_MAP} -Wl,--exclude-libs,ALL)
  # A sanitizer's run time is in the executable; its symbols stay undefined here on purpose.
  if(NOT CALLGATE_SANITIZE)
    target_link_options(${target} PRIVATE -Wl,-z,defs)
  endif()
  target_link_libraries(${target} PRIVATE callgate_sdk_cpp ${P_LIBS})
endfunction()
