# Man pages and completions, of the programs' own options and texts, into manual/ and completions/{bash,zsh,fish}/ of the
# build folder. Part of 'all': it takes two seconds.
find_package(Python3 COMPONENTS Interpreter)
if(NOT Python3_Interpreter_FOUND)
  message(STATUS "No Python: no man pages, no completions")
  return()
endif()
set(make_manual ${PROJECT_SOURCE_DIR}/scripts/make_manual.py)
file(GLOB manual_sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/scripts/manual/*.py)
set(manual_files)

# manual_of(WHAT FILE... [ARGUMENTS...] [DEPENDS...]): a rule that calls 'make_manual.py WHAT'.
function(manual_of what)
  cmake_parse_arguments(arg "" "" "FILES;ARGUMENTS;DEPENDS" ${ARGN})
  list(TRANSFORM arg_FILES PREPEND ${PROJECT_BINARY_DIR}/)
  add_custom_command(OUTPUT ${arg_FILES}
    COMMAND ${CMAKE_COMMAND} -E env PYTHONDONTWRITEBYTECODE=1
      ${Python3_EXECUTABLE} ${make_manual} ${what} ${PROJECT_BINARY_DIR} ${arg_ARGUMENTS}
    DEPENDS ${make_manual} ${manual_sources} ${arg_DEPENDS} VERBATIM)
  set(manual_files ${manual_files} ${arg_FILES} PARENT_SCOPE)
endfunction()

# manual_files_of(VARIABLE PROGRAM...)
function(manual_files_of variable)
  set(files)
  foreach(program ${ARGN})
    list(APPEND files manual/${program}.1 completions/bash/${program} completions/zsh/_${program}
      completions/fish/${program}.fish)
  endforeach()
  set(${variable} ${files} PARENT_SCOPE)
endfunction()

foreach(program ublkbench ublk-server ublk-load ublk-probe)
  if(TARGET ${program})
    manual_files_of(files ${program})
    manual_of(program FILES ${files} ARGUMENTS $<TARGET_FILE:${program}> DEPENDS ${program})
  endif()
endforeach()
manual_files_of(files ublk-dump ublk-report)
manual_of(python FILES ${files} ARGUMENTS ${PROJECT_VERSION}
  DEPENDS ${PROJECT_SOURCE_DIR}/drgn/ublk_drgn/cli.py ${PROJECT_SOURCE_DIR}/reports/ublk_report/cli.py)
manual_of(pages FILES manual/ublkbench-record.5 manual/ublkbench-waivers.5 manual/ublkbench-modes.7
  ARGUMENTS ${PROJECT_VERSION}
  DEPENDS ${PROJECT_SOURCE_DIR}/bench/record/schema/run.schema.json ${PROJECT_SOURCE_DIR}/docs/modes.md
    ${PROJECT_SOURCE_DIR}/docs/waivers.md)
add_custom_target(manual ALL DEPENDS ${manual_files})
