package numa

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"

	"github.com/slubd/slubd/internal/cpulist"
)

// sysfs reads the files of /sys that describe nodes and CPUs. The caller decides what a missing or
// unreadable file means. Text that makes no sense is ErrMalformed with the file's name.
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
	ids, err := cpulist.Parse(text)
	if err != nil {
		return nil, inFile(file, fmt.Errorf("%w: %w", ErrMalformed, err))
	}
	return ids, nil
}

// optionalList reads a file in list format. An unreadable file counts as an empty list.
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

// distances reads the distances from node n, one to each online (not possible) node, in ascending
// order of their ids.
func (s sysfs) distances(n Node, online int) ([]int, error) {
	file := nodeFile(n, "distance")
	text, err := s.read(file)
	if err != nil {
		return nil, err
	}
	distances, err := parseDistances(text, online)
	return distances, inFile(file, err)
}

func parseDistances(text string, online int) ([]int, error) {
	fields := strings.Fields(text)
	if len(fields) != online {
		return nil, fmt.Errorf("%w: %d distances for %d online nodes", ErrMalformed, len(fields), online)
	}
	distances := make([]int, online)
	for i, f := range fields {
		d, err := strconv.ParseUint(f, 10, 16)
		if err != nil || d == 0 {
			return nil, fmt.Errorf("%w: %q is no distance", ErrMalformed, f)
		}
		distances[i] = int(d)
	}
	return distances, nil
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

// parseMemory returns the bytes of a line such as "Node 0 MemTotal: 4417740 kB", where MemTotal: is
// the key.
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

// cpusOf lists the CPUs linked from node n's directory. Unlike cpulist, that includes offline CPUs.
func (s sysfs) cpusOf(n Node) []int {
	entries, err := fs.ReadDir(s, nodeFile(n, ""))
	if err != nil {
		return nil
	}
	var cpus []int
	for _, e := range entries {
		// The directory has cpulist and cpumap as well: not every suffix is an id.
		if suffix, ok := strings.CutPrefix(e.Name(), "cpu"); ok {
			if cpu, err := cpulist.ParseID(suffix); err == nil {
				cpus = append(cpus, cpu)
			}
		}
	}
	return cpus
}

// nodeFile is the path of a file of node n; an empty name stands for the directory.
func nodeFile(n Node, name string) string {
	return strings.TrimSuffix(fmt.Sprintf("%snode%d/%s", nodeDir, n, name), "/")
}

// inFile adds the file's name to a non-nil error.
func inFile(file string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("numa: /sys/%s: %w", file, err)
}
