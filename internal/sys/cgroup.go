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

// unlimited bounds limits. Where none was set, version 1 shows the bytes of the largest number of
// pages, a little below 1<<63.
const unlimited = 1 << 62

// cgroupLimit returns the smallest memory limit, in bytes, of the groups that the process is in, 0
// for none, from a tree of files like /. Where both versions are mounted, both count. With an error
// it returns the smallest of those that it could read.
func cgroupLimit(root fs.FS) (limit uint64, err error) {
	groups, err := memoryGroups(root)
	if err != nil {
		return 0, err
	}
	var errs []error
	for _, g := range groups {
		read := limitV1
		if g.v2 {
			read = limitV2
		}
		n, err := read(root, g.top, g.dir)
		limit = least(limit, n)
		errs = append(errs, err)
	}
	return limit, errors.Join(errs...)
}

// A memoryGroup is a cgroup of the process that may limit its memory.
type memoryGroup struct {
	v2       bool
	top, dir string // directories of the topmost group that can be seen, and of the process' own
}

// memoryGroups returns the groups of both versions that are mounted, none on a kernel without
// cgroups.
func memoryGroups(root fs.FS) (groups []memoryGroup, err error) {
	text, err := fs.ReadFile(root, "proc/self/cgroup")
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	mounts, err := fs.ReadFile(root, "proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	for line := range strings.Lines(string(text)) {
		// number:controllers:path, where version 2 has number 0 and names none
		f := strings.SplitN(strings.TrimSuffix(line, "\n"), ":", 3)
		if len(f) != 3 {
			continue
		}
		g := memoryGroup{v2: f[0] == "0" && f[1] == ""}
		if !g.v2 && !slices.Contains(strings.Split(f[1], ","), "memory") {
			continue
		}
		mounted := false
		if g.top, g.dir, mounted = groupDir(mounts, g.v2, f[2]); mounted {
			groups = append(groups, g)
		}
	}
	return groups, nil
}

// levels returns the directories of the group and of those above it, up to the topmost one.
func (g memoryGroup) levels() (dirs []string) {
	for dir := g.dir; ; dir = path.Dir(dir) {
		dirs = append(dirs, dir)
		if dir == g.top || dir == "." {
			return dirs
		}
	}
}

// least is the smaller of two limits; 0 is no limit.
func least(a, b uint64) uint64 {
	if a == 0 || b == 0 {
		return max(a, b)
	}
	return min(a, b)
}

// groupDir finds the directory of a group and that of the topmost group which can be seen, both
// without the leading slash. In a container the process' group may lie outside of what is mounted,
// or of the namespace ("/.."); then the topmost one stands for it.
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

// limitV2 is the smallest memory.max or memory.high from the group up to the topmost one: above
// memory.high the kernel slows the group down until it stands still. The root group of a machine
// has no such files, and neither has a group without the controller.
func limitV2(root fs.FS, top, dir string) (limit uint64, err error) {
	var errs []error
	for {
		for _, name := range []string{"memory.max", "memory.high"} {
			text, err := fs.ReadFile(root, path.Join(dir, name))
			if err == nil && string(bytes.TrimSpace(text)) != "max" {
				var n uint64
				n, err = parseLimit(path.Join(dir, name), text)
				limit = least(limit, n)
			}
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				errs = append(errs, err)
			}
		}
		if dir == top || dir == "." {
			return limit, errors.Join(errs...)
		}
		dir = path.Dir(dir)
	}
}

// limitV1 is the limit of the group and of those groups above it that count: use_hierarchy says
// which do, and the kernel takes the minimum.
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

// parseLimit returns the limit in bytes, or 0 if there is none. A limit of 0 bytes becomes 1.
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
