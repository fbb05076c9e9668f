# Do other compilers and checkers agree?  gcc -Werror is the build itself, and
# scripts/check runs shellcheck.

load helpers

@test "clang compiles all of the libraries without a warning" {
  requires clang
  cd "$TOP" || return
  local file
  for file in core/*.c preload/*.c; do
    run clang -std=gnu11 -O1 -fsyntax-only -Wall -Wextra -Werror -Wshadow \
      -Wpointer-arith -Wvla -Wstrict-prototypes -Wmissing-prototypes \
      -fvisibility=hidden -fno-builtin-malloc -Icore -D_GNU_SOURCE \
      -DSK_VERSION='"0"' "$file"
    assert_success
  done
}

# nullPointerRedundantCheck and ctunullpointer: sk_die never returns, which
# cppcheck does not see across files.  normalCheckLevelMaxBranches: newer
# versions say what they left out.
@test "cppcheck finds nothing in the libraries" {
  requires cppcheck
  cd "$TOP" || return
  run cppcheck --quiet --error-exitcode=1 --inline-suppr \
    --enable=warning,performance,portability \
    --suppress=nullPointerRedundantCheck --suppress=ctunullpointer \
    --suppress=normalCheckLevelMaxBranches \
    -Icore -D_GNU_SOURCE \
    -DSK_VERSION='"0"' core preload
  assert_success
  assert_output ''
}
