# cmake -DSOURCE=... -DOUTPUT=... -P: writes the commit of SOURCE into a header, if it changed.
cmake_minimum_required(VERSION 3.25)
set(commit unknown)
set(dirty -1)
find_program(git git)
if(git)
  execute_process(COMMAND ${git} -C ${SOURCE} rev-parse HEAD
    OUTPUT_VARIABLE answer OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET RESULT_VARIABLE failed)
  if(NOT failed)
    set(commit ${answer})
    # Files that git does not know count too: the CMake files take sources by glob.
    execute_process(COMMAND ${git} --no-optional-locks -C ${SOURCE} status --porcelain -- bench cmake CMakeLists.txt
      OUTPUT_VARIABLE changes ERROR_QUIET RESULT_VARIABLE failed)
    if(NOT failed)
      string(COMPARE NOTEQUAL "${changes}" "" is_dirty)
      set(dirty ${is_dirty})
    endif()
  endif()
endif()
file(CONFIGURE OUTPUT ${OUTPUT} CONTENT
"#pragma once
#define UBLKBENCH_COMMIT \"@commit@\"
#define UBLKBENCH_DIRTY @dirty@  // 1, 0, or -1: not known
" @ONLY)
