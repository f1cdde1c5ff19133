#!/usr/bin/env bash
# The book and the files beside the README: relative links lead to a file and to a heading in it, every page is in the
# summary, and mdbook builds it. CAPN_BOOK_CHECK_ONLY=1 leaves the build out.
set -euo pipefail
cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/.."
shopt -s nullglob globstar
faults=0

fault() {
  printf '%s\n' "$*" >&2
  faults=$((faults + 1))
}

# without_code_blocks FILE
without_code_blocks() { awk '/^ *(```|~~~)/ { code = !code; next } !code' "$1"; }

# links FILE: the targets of its links, one a line
# shellcheck disable=SC2016
links() {
  without_code_blocks "$1" | sed 's/`[^`]*`//g' | grep -oE '\]\([^)]+\)|^\[[^]]+\]: *[^ ]+' |
    sed -E 's/^\]\(//; s/^\[[^]]+\]: *//; s/\)$//; s/ +"[^"]*"$//' || true
}

# anchors FILE: the anchors that mdbook and GitHub give its headings
anchors() {
  without_code_blocks "$1" | sed -nE 's/^#+ +//p' | sed -E 's/\[([^]]*)\]\([^)]*\)/\1/g' |
    tr '[:upper:]' '[:lower:]' | sed -E 's/[^[:alnum:] _-]//g; s/ /-/g'
}

# check_link FILE LINK
check_link() {
  local file=$1 link=$2 path=${2%%#*} anchor='' target=$1
  case $link in http://* | https://* | mailto:*) return 0 ;; esac
  [[ $link != *'#'* ]] || anchor=${link#*#}
  [[ -z $path ]] || target=$(dirname "$file")/$path
  if [[ ! -e $target ]]; then
    fault "$file: $link leads to no file"
  elif [[ $file == docs/* && $(realpath --relative-to docs "$target") == ..* ]]; then
    fault "$file: $link leads out of the book: name the file in words, without a link"
  elif [[ -n $anchor ]] && ! anchors "$target" | grep -xF -- "$anchor" >/dev/null; then
    fault "$file: $link leads to no heading of $target"
  fi
}

for file in *.md docs/**/*.md; do
  while read -r link; do
    check_link "$file" "$link"
  done < <(links "$file")
done

pages=$(links docs/SUMMARY.md | sort)
for page in docs/**/*.md; do
  page=${page#docs/}
  [[ $page == SUMMARY.md ]] || grep -xF -- "$page" >/dev/null <<<"$pages" || fault "docs/$page is not in docs/SUMMARY.md"
done
while read -r page; do
  fault "docs/SUMMARY.md names $page more than once"
done < <(uniq -d <<<"$pages")
((faults == 0)) || exit 1

[[ -z ${CAPN_BOOK_CHECK_ONLY:-} ]] || exit 0
: "${CAPN_CACHE:?run make docs}" "${CARGO_TARGET_DIR:?}"
# shellcheck source=../test/infrastructure/lab/versions.env
. test/infrastructure/lab/versions.env
# shellcheck source=tools.sh
. hack/tools.sh
# Without its server, which is most of what there is to build.
mdbook=$(cargo_tool mdbook "$MDBOOK_VERSION" --no-default-features --features search)
"$mdbook" build docs
