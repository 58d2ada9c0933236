/**
 * What the scripts on releases share; it follows a prelude with `enter_clone`. `path`, `home` and `folder` are the
 * operands of `releaseOperands`.
 *
 * - `releases/NAME` holds the files of one tree and nothing else, so that they can be served as they are.
 * - `.git/muster-releases/NAME` tells of it: `index` (git's, by which a file that was changed is found), `commit` (the
 *   one that was last brought by it) and `tree`, which is written last: without it the release is half made.
 * - `.git/muster-history` has the releases in the order in which they were shown, the present one last.
 * - A release is named for its tree, so that the same files are the same release whatever commit brings them.
 */
export const RELEASES_PRELUDE = String.raw`
# enter_releases INSTALLATION: from here on git works on that repository; a work tree is named where one is needed.
enter_releases() {
  enter_clone "$home" "$1"
  releases=$home/releases metas=$GIT_DIR/muster-releases
}

# on_release NAME INDEX ARGUMENTS…: git with that release as its work tree.
on_release() (
  GIT_WORK_TREE=$releases/$1 GIT_INDEX_FILE=$2
  export GIT_WORK_TREE GIT_INDEX_FILE
  shift 2
  git "$@"
)

# is_intact NAME: whether its tracked files are as they were delivered. The index itself stays as it is.
is_intact() {
  on_release "$1" "$metas/$1/index" diff-files --quiet >/dev/null 2>&1 && return 0
  copy_index "$1" && on_release "$1" "$work/index" diff-files --quiet >/dev/null 2>&1
}

# copy_index NAME: a copy in work/index that knows the present times of the files.
copy_index() {
  cp -p "$metas/$1/index" "$work/index" 2>/dev/null || return 1
  on_release "$1" "$work/index" update-index -q --refresh >/dev/null 2>&1 || :
}

# find_current: "current" is the release that the path shows, however the link is written; empty if it shows nothing.
# "foreign" is true if something is there that is none of ours, "names" are those of all releases.
find_current() {
  current= foreign=false names=$(ls "$metas")
  if [ -L "$path" ]; then
    foreign=true
    for name in $names; do
      [ "$path" -ef "$releases/$name" ] || continue
      current=$name foreign=false
      break
    done
  elif [ -e "$path" ]; then
    foreign=true
  fi
}

# find_release TREE: "release" is an intact one with those files, the present one if it is. After find_current.
find_release() {
  release=
  for name in $current $names; do
    read_line "$metas/$name/tree"
    [ "$line" = "$1" ] && is_intact "$name" || continue
    release=$name
    return 0
  done
  return 1
}

# drop_release NAME: half gone is half made, so that whoever comes next ends it.
drop_release() {
  rm -f "$metas/$1/tree" && rm -rf "$releases/$1" && rm -rf "$metas/$1"
}

# drop_half_made: what killed runs left.
drop_half_made() {
  for name in $(ls "$metas"); do
    [ ! -f "$metas/$name/tree" ] || continue
    lives "$(cat "$metas/$name/pid" 2>/dev/null || echo 0)" "$(cat "$metas/$name/start" 2>/dev/null)" ||
      drop_release "$name"
  done
}

# make_release TREE COMMIT: "release" is a new one. On failure "words" tells why, and nothing is left.
make_release() {
  number=1 release=$(printf %.12s "$1")
  while [ -e "$releases/$release" ] || [ -L "$releases/$release" ] || ! mkdir "$metas/$release" 2>/dev/null; do
    number=$((number + 1))
    release=$(printf '%.12s-%d' "$1" "$number")
    words="no name is free in $releases"
    [ "$number" -le 99 ] || return 1
  done
  meta=$metas/$release
  words=$(
    {
      echo $$ >"$meta/pid" && identify $$ >"$meta/start" &&
        mkdir "$releases/$release" &&
        on_release "$release" "$meta/index" read-tree --reset -u "$1" &&
        echo "$2" >"$meta/commit" &&
        echo "$1" >"$meta/tree.new" &&
        mv -f "$meta/tree.new" "$meta/tree" &&
        rm -f "$meta/pid" "$meta/start"
    } 2>&1
  ) && return 0
  drop_release "$release"
  return 1
}

# rename_over FROM TO: rename(2), also where TO is a link to a folder, into which a plain mv would move. The words for
# it are those of GNU and busybox, of BSD, and of what comes with git.
rename_over() {
  mv -fT "$1" "$2" 2>/dev/null || mv -fh "$1" "$2" 2>/dev/null ||
    perl -e 'exit !rename $ARGV[0], $ARGV[1]' "$1" "$2" 2>/dev/null
}

# show NAME: the path as a link to that release. Whoever opens the path meets the old one or the new one, never nothing.
show() {
  [ -L "$path" ] || [ ! -e "$path" ] || return 1
  [ ! -L "$home-link" ] || rm -f "$home-link"
  ln -s "$folder/releases/$1" "$home-link" && rename_over "$home-link" "$path" && [ "$path" -ef "$home/releases/$1" ]
}

# note_commit NAME COMMIT: which commit that release was last brought by.
note_commit() {
  read_line "$metas/$1/commit"
  [ "$line" = "$2" ] || { echo "$2" >"$work/commit" && mv -f "$work/commit" "$metas/$1/commit"; }
}

# note_shown COMMIT BRANCH: which commit is there now.
note_shown() {
  printf 'update refs/muster/deployed %s\nupdate refs/heads/%s %s\n' "$1" "$2" "$1" | git update-ref --stdin
}

# read_history: "history" are the releases in the order in which they were shown, "last" is the last one.
read_history() {
  history= last=
  [ ! -f "$GIT_DIR/muster-history" ] ||
    while read -r line; do history="$history $line" last=$line; done <"$GIT_DIR/muster-history"
}

# write_history NAMES…: the one who is last is shown. Others stay before them, in their order.
write_history() {
  read_history
  {
    for name in $history; do
      known=false
      for given in "$@"; do [ "$given" != "$name" ] || known=true; done
      [ "$known" = true ] || [ ! -d "$metas/$name" ] || echo "$name"
    done
    for name in "$@"; do [ -z "$name" ] || echo "$name"; done
  } >"$work/history" && mv -f "$work/history" "$GIT_DIR/muster-history"
}
`;
