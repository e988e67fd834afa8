package sys

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"
)

// unlimited is what version 1 shows where nothing was set: the largest number
// of pages, in bytes, which is a little below 1<<63.
const unlimited = 1 << 62

// cgroupLimit returns the smallest memory limit, in bytes, of the groups that
// the process is in, 0 for none, from a tree of the form of /. In a hybrid tree
// both versions count. With an error it returns what it could read.
func cgroupLimit(root fs.FS) (limit uint64, err error) {
	groups, err := fs.ReadFile(root, "proc/self/cgroup")
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil // a kernel without cgroups
	}
	if err != nil {
		return 0, err
	}
	mounts, err := fs.ReadFile(root, "proc/self/mountinfo")
	if err != nil {
		return 0, err
	}
	var errs []error
	for line := range strings.Lines(string(groups)) {
		// number:controllers:path, where version 2 has number 0 and names none
		f := strings.SplitN(strings.TrimSuffix(line, "\n"), ":", 3)
		if len(f) != 3 {
			continue
		}
		v2 := f[0] == "0" && f[1] == ""
		if !v2 && !slices.Contains(strings.Split(f[1], ","), "memory") {
			continue
		}
		top, dir, ok := groupDir(mounts, v2, f[2])
		if !ok {
			continue // not mounted here
		}
		read := limitV1
		if v2 {
			read = limitV2
		}
		n, err := read(root, top, dir)
		limit = least(limit, n)
		errs = append(errs, err)
	}
	return limit, errors.Join(errs...)
}

// least is the smaller of two limits of which 0 is none.
func least(a, b uint64) uint64 {
	if a == 0 || b == 0 {
		return max(a, b)
	}
	return min(a, b)
}

// groupDir finds the directory of a group and that of the topmost group which
// can be seen, both without the leading slash. A group outside of what is
// mounted or of the namespace ("/.."), as a container may see its own, is taken
// for the topmost one.
func groupDir(mountinfo []byte, v2 bool, group string) (top, dir string, ok bool) {
	for line := range bytes.Lines(mountinfo) {
		// id parent device root point options [tags] - type source options
		head, tail, _ := strings.Cut(strings.TrimSpace(string(line)), " - ")
		f, kind := strings.Fields(head), strings.Fields(tail)
		if len(f) < 5 || len(kind) < 3 {
			continue
		}
		if v2 && kind[0] != "cgroup2" ||
			!v2 && (kind[0] != "cgroup" || !slices.Contains(strings.Split(kind[2], ","), "memory")) {
			continue
		}
		shown, point := unescape(f[3]), strings.TrimPrefix(path.Clean(unescape(f[4])), "/")
		rest, below := strings.CutPrefix(group+"/", strings.TrimSuffix(shown, "/")+"/")
		if below && !strings.HasPrefix(rest, "../") {
			return point, path.Join(point, rest), true
		}
		if !ok {
			top, dir, ok = point, point, true
		}
	}
	return top, dir, ok
}

// unescape undoes how mountinfo writes blanks and backslashes.
func unescape(s string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(s)
}

// limitV2 is the smallest memory.max from the group up to the topmost. The root
// group of a machine has no such file, nor has one without the controller.
func limitV2(root fs.FS, top, dir string) (limit uint64, err error) {
	var errs []error
	for {
		text, err := fs.ReadFile(root, path.Join(dir, "memory.max"))
		if err == nil && string(bytes.TrimSpace(text)) != "max" {
			var n uint64
			n, err = parseLimit(path.Join(dir, "memory.max"), text)
			limit = least(limit, n)
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
		if dir == top || dir == "." {
			return limit, errors.Join(errs...)
		}
		dir = path.Dir(dir)
	}
}

// limitV1 is the limit of the group with, where they count, those above it:
// the kernel has taken the minimum itself, since use_hierarchy says what counts.
func limitV1(root fs.FS, _, dir string) (limit uint64, err error) {
	file := path.Join(dir, "memory.stat")
	text, err := fs.ReadFile(root, file)
	for line := range bytes.Lines(text) {
		if n, ok := bytes.CutPrefix(line, []byte("hierarchical_memory_limit ")); ok {
			return parseLimit(file, n)
		}
	}
	file = path.Join(dir, "memory.limit_in_bytes")
	text, err2 := fs.ReadFile(root, file)
	switch {
	case err2 == nil:
		return parseLimit(file, text)
	case errors.Is(err2, fs.ErrNotExist) && (err == nil || errors.Is(err, fs.ErrNotExist)):
		return 0, nil
	}
	return 0, errors.Join(err, err2)
}

// parseLimit returns 0 for no limit, and for a limit of nothing the least that
// differs from it.
func parseLimit(file string, text []byte) (uint64, error) {
	n, err := strconv.ParseUint(string(bytes.TrimSpace(text)), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", file, err)
	}
	if n >= unlimited {
		return 0, nil
	}
	return max(n, 1), nil
}
