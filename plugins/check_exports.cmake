# SPDX-License-Identifier: Apache-2.0
# cmake -DNM=nm -DFILES="a.so;b.so" -P check_exports.cmake: fails when a module exports more, or less, than its entry.
foreach(file IN LISTS FILES)
  execute_process(COMMAND ${NM} -D --defined-only ${file} OUTPUT_VARIABLE out RESULT_VARIABLE rc)
  string(REGEX MATCHALL "[^\n]+" lines "${out}")
  list(LENGTH lines count)
  if(NOT rc EQUAL 0 OR NOT count EQUAL 1 OR NOT out MATCHES " T cg_plugin_entry_v1\n$")
    message(SEND_ERROR "${file} must export cg_plugin_entry_v1 and nothing else, but has:\n${out}")
  endif()
endforeach()
