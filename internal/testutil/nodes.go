package testutil

import (
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

var (
	nodeUse  = regexp.MustCompile(` N\d+=(\d+)`)
	pageSize = regexp.MustCompile(` kernelpagesize_kB=(\d+)`)
	telling  = regexp.MustCompile(`.*(?:MemFree|FilePages|AnonPages|Shmem|PageTables|Slab|KernelStack):.*`)
)

// LogNodes logs what the memory of each NUMA node serves, and which ranges of which processes have
// at least the given number of bytes. It is for a test that found less room on a node than it
// expected. Where the kernel doesn't say, it logs nothing.
func LogNodes(t testing.TB, least int) {
	t.Helper()
	files, _ := filepath.Glob("/sys/devices/system/node/node*/meminfo")
	for _, name := range files {
		info, _ := os.ReadFile(name)
		t.Logf("%s", strings.Join(telling.FindAllString(string(info), -1), "\n"))
	}
	files, _ = filepath.Glob("/proc/[0-9]*/numa_maps")
	for _, name := range files {
		dir := filepath.Dir(name)
		command, _ := os.ReadFile(filepath.Join(dir, "cmdline"))
		maps, _ := os.ReadFile(name) // fails for a process that has just ended
		for line := range strings.Lines(string(maps)) {
			if bytesOf(line) >= least {
				t.Logf("%s %.60s: %s", dir, strings.ReplaceAll(string(command), "\x00", " "), strings.TrimSpace(line))
			}
		}
	}
}

// bytesOf returns how much memory of all nodes a line of numa_maps tells of.
func bytesOf(line string) (n int) {
	size := pageSize.FindStringSubmatch(line)
	if size == nil {
		return 0
	}
	kib, _ := strconv.Atoi(size[1])
	for _, m := range nodeUse.FindAllStringSubmatch(line, -1) {
		pages, _ := strconv.Atoi(m[1])
		n += pages * kib << 10
	}
	return n
}
