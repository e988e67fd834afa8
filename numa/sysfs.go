package numa

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"
)

// sysfs reads the files of /sys that describe nodes and CPUs. A file that is
// missing or unreadable is the caller's to interpret; text that makes no sense
// is ErrMalformed with the file's name.
type sysfs struct{ fs.FS }

const (
	nodeDir = "devices/system/node/"
	cpuDir  = "devices/system/cpu/"
)

// read returns a file's text.
func (s sysfs) read(file string) (string, error) {
	text, err := fs.ReadFile(s, file)
	return string(text), err
}

// list reads a file in list format.
func (s sysfs) list(file string) ([]int, error) {
	text, err := s.read(file)
	if err != nil {
		return nil, err
	}
	ids, err := parseList(text)
	return ids, inFile(file, err)
}

// optionalList takes an unreadable file for an empty list.
func (s sysfs) optionalList(file string) ([]int, error) {
	ids, err := s.list(file)
	if err != nil && !errors.Is(err, ErrMalformed) {
		return nil, nil
	}
	return ids, err
}

// number reads a file that holds one number.
func (s sysfs) number(file string) (int, error) {
	text, err := s.read(file)
	if err != nil {
		return 0, err
	}
	n, err := strconv.Atoi(strings.TrimSpace(text))
	if err != nil {
		return 0, inFile(file, fmt.Errorf("%w: %q is no number", ErrMalformed, text))
	}
	return n, nil
}

// distances reads node n's row, which has one column per online node (not per
// possible one), in ascending order.
func (s sysfs) distances(n Node, online int) ([]int, error) {
	file := nodeFile(n, "distance")
	text, err := s.read(file)
	if err != nil {
		return nil, err
	}
	row, err := parseDistances(text, online)
	return row, inFile(file, err)
}

func parseDistances(text string, online int) ([]int, error) {
	fields := strings.Fields(text)
	if len(fields) != online {
		return nil, fmt.Errorf("%w: %d columns for %d online nodes", ErrMalformed, len(fields), online)
	}
	row := make([]int, online)
	for i, f := range fields {
		d, err := strconv.ParseUint(f, 10, 16)
		if err != nil || d == 0 {
			return nil, fmt.Errorf("%w: %q is no distance", ErrMalformed, f)
		}
		row[i] = int(d)
	}
	return row, nil
}

// memory reads node n's meminfo, in bytes.
func (s sysfs) memory(n Node) (total, free uint64, err error) {
	file := nodeFile(n, "meminfo")
	text, err := fs.ReadFile(s, file)
	if err != nil {
		return 0, 0, err
	}
	total, err = parseMemory(text, "MemTotal:")
	if err == nil {
		free, err = parseMemory(text, "MemFree:")
	}
	return total, free, inFile(file, err)
}

// parseMemory finds the line "Node 0 key 4417740 kB".
func parseMemory(text []byte, key string) (uint64, error) {
	for line := range bytes.Lines(text) {
		f := bytes.Fields(line)
		if len(f) != 5 || string(f[2]) != key || string(f[4]) != "kB" {
			continue
		}
		if kb, err := strconv.ParseUint(string(f[3]), 10, 53); err == nil {
			return kb << 10, nil
		}
	}
	return 0, fmt.Errorf("%w: no figure for %s", ErrMalformed, key)
}

// cpusOf lists the CPUs linked from node n's directory. Unlike cpulist it
// names offline ones too.
func (s sysfs) cpusOf(n Node) []int {
	entries, err := fs.ReadDir(s, nodeFile(n, ""))
	if err != nil {
		return nil
	}
	var cpus []int
	for _, e := range entries {
		// cpulist and cpumap are here as well: not every suffix is an id.
		if suffix, ok := strings.CutPrefix(e.Name(), "cpu"); ok {
			if cpu, err := parseID(suffix); err == nil {
				cpus = append(cpus, cpu)
			}
		}
	}
	return cpus
}

// nodeFile is the path of a file of node n; an empty name means its directory.
func nodeFile(n Node, name string) string {
	return strings.TrimSuffix(fmt.Sprintf("%snode%d/%s", nodeDir, n, name), "/")
}

// inFile names the file in a non-nil error.
func inFile(file string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("numa: /sys/%s: %w", file, err)
}
