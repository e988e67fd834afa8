package sys

import (
	"bytes"
	"fmt"
	"io/fs"
	"strconv"
)

// anonymous reads the process' anonymous resident memory, in bytes, from a directory like
// /proc/self. smaps_rollup counts page table entries and is exact. status sums per-CPU counters,
// which may lag by megabytes, but exists before Linux 4.14 and where smaps is forbidden.
func anonymous(proc fs.FS) (uint64, error) {
	if n, err := fieldKB(proc, "smaps_rollup", "Anonymous:"); err == nil {
		return n, nil
	}
	return fieldKB(proc, "status", "RssAnon:")
}

// fieldKB returns the bytes of the line "key number kB" of a file.
func fieldKB(proc fs.FS, file, key string) (uint64, error) {
	text, err := fs.ReadFile(proc, file)
	if err != nil {
		return 0, err
	}
	for line := range bytes.Lines(text) {
		f := bytes.Fields(line)
		if len(f) != 3 || string(f[0]) != key || string(f[2]) != "kB" {
			continue
		}
		kb, err := strconv.ParseUint(string(f[1]), 10, 53)
		if err != nil {
			return 0, fmt.Errorf("%s: %s %w", file, key, err)
		}
		return kb << 10, nil
	}
	return 0, fmt.Errorf("%s has no %s", file, key)
}
