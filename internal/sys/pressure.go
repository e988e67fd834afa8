package sys

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strconv"
	"strings"
	"time"
)

// Pressure says how often memory was short. All numbers only grow.
type Pressure struct {
	Groups []GroupPressure // cgroups of the process with limits, the innermost first
	// Stalled is how long at least one thread waited for memory, in the process' cgroup or, if it
	// doesn't say, in the whole system (PSI). 0 where the kernel doesn't say either.
	Stalled time.Duration
}

// GroupPressure is what one cgroup says.
type GroupPressure struct {
	Dir string // without the leading slash
	// AtLimit counts how often the group reached memory.high or memory.max, or with version 1 its
	// limit (memory.failcnt). OOM counts how often the kernel could not reclaim enough then.
	AtLimit, OOM uint64
	// File are bytes of files' pages, which the kernel reclaims by itself, and Anon those that it
	// can't reclaim without swap. Both now, and 0 where they are unknown.
	File, Anon uint64
}

// readPressure reads a tree of files like /. With an error it returns what it could read.
func readPressure(root fs.FS) (p Pressure, err error) {
	groups, err := memoryGroups(root)
	errs := []error{err}
	note := func(err error) {
		if !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	for _, g := range groups {
		for _, dir := range g.levels() {
			l, err := readGroup(root, g.v2, dir)
			if note(err); err == nil {
				p.Groups = append(p.Groups, l)
			}
		}
	}
	for _, file := range pressureFiles(groups) {
		text, err := fs.ReadFile(root, file)
		if err == nil {
			p.Stalled, err = parseStalled(file, text)
		}
		if note(err); err == nil {
			break
		}
	}
	return p, errors.Join(errs...)
}

// pressureFiles returns the files that may have the process' PSI of memory, the best one first.
func pressureFiles(groups []memoryGroup) (files []string) {
	for _, g := range groups {
		if g.v2 {
			files = append(files, path.Join(g.dir, "memory.pressure"))
		}
	}
	return append(files, "proc/pressure/memory")
}

// parseStalled returns the total of the line "some avg10=0.00 avg60=0.00 avg300=0.00 total=478",
// which counts microseconds.
func parseStalled(file string, text []byte) (time.Duration, error) {
	for line := range strings.Lines(string(text)) {
		f := strings.Fields(line)
		if len(f) == 0 || f[0] != "some" {
			continue
		}
		total, ok := strings.CutPrefix(f[len(f)-1], "total=")
		if us, err := strconv.ParseInt(total, 10, 53); ok && err == nil {
			return time.Duration(us) * time.Microsecond, nil
		}
	}
	return 0, fmt.Errorf("%s has no total", file)
}

// readGroup reads the files of one group. The root group of a machine has none with version 2.
func readGroup(root fs.FS, v2 bool, dir string) (g GroupPressure, err error) {
	g.Dir = dir
	if !v2 {
		file := path.Join(dir, "memory.failcnt")
		text, err := fs.ReadFile(root, file)
		if err != nil {
			return g, err
		}
		if g.AtLimit, err = strconv.ParseUint(string(bytes.TrimSpace(text)), 10, 64); err != nil {
			return g, fmt.Errorf("%s: %w", file, err)
		}
		g.File, g.Anon = fileAndAnon(root, dir, "total_")
		return g, nil
	}
	events, err := fields(root, path.Join(dir, "memory.events"))
	if err != nil {
		return g, err
	}
	g.AtLimit, g.OOM = events["high"]+events["max"], events["oom"]
	g.File, g.Anon = fileAndAnon(root, dir, "")
	return g, nil
}

// fileAndAnon reads the sizes of the LRU lists, of the group and those below it.
func fileAndAnon(root fs.FS, dir, prefix string) (file, anon uint64) {
	f, err := fields(root, path.Join(dir, "memory.stat"))
	if err != nil {
		return 0, 0
	}
	return f[prefix+"inactive_file"] + f[prefix+"active_file"], f[prefix+"inactive_anon"] + f[prefix+"active_anon"]
}

// fields reads a file with a name and a number in each line. It passes over other lines.
func fields(root fs.FS, file string) (map[string]uint64, error) {
	text, err := fs.ReadFile(root, file)
	if err != nil {
		return nil, err
	}
	m := make(map[string]uint64)
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); len(f) == 2 {
			if n, err := strconv.ParseUint(f[1], 10, 64); err == nil {
				m[f[0]] = n
			}
		}
	}
	return m, nil
}
