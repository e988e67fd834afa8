package sys

import (
	"errors"
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"
)

const (
	mountV2     = "31 23 0:28 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"
	mountV1     = "35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n"
	mountHybrid = mountV1 + "41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n"
	mountOthers = "23 1 8:1 / / rw - ext4 /dev/sda rw\n\n30 31 0:9 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\nnonsense\n1 - \n"
	v1Stat      = "cache 1\nhierarchical_memory_limit 3145728\nhierarchical_memsw_limit 1\n"
	v1None      = "hierarchical_memory_limit 9223372036854771712\n"
)

func TestCgroupLimit(t *testing.T) {
	for name, c := range map[string]struct {
		groups, mounts string
		files          string // "path=contents|path=contents", below /sys/fs/cgroup
		want           uint64
	}{
		"v2":                          {"0::/app\n", mountV2, "app/memory.max=4096\n", 4096},
		"v2, max":                     {"0::/app\n", mountV2, "app/memory.max=max\n", 0},
		"v2, nothing":                 {"0::/app\n", mountV2, "", 0},
		"v2, parent is tighter":       {"0::/a/b/c\n", mountV2, "a/b/c/memory.max=9000\n|a/b/memory.max=max\n|a/memory.max=5000\n", 5000},
		"v2, child is tighter":        {"0::/a/b/c\n", mountV2, "a/b/c/memory.max=3000\n|a/memory.max=5000\n", 3000},
		"v2, middle without the file": {"0::/a/b/c\n", mountV2, "a/b/c/memory.max=max\n|a/memory.max=5000\n", 5000},
		"v2, own namespace":           {"0::/\n", mountV2, "memory.max=7000\n", 7000},
		"v2, outside its namespace":   {"0::/../../x\n", mountV2, "memory.max=7000\n|x/memory.max=1\n", 7000},
		"v2, sibling":                 {"0::/a\n", mountV2, "ab/memory.max=1000\n", 0},
		"v2, limit of nothing":        {"0::/a\n", mountV2, "a/memory.max=0\n", 1},
		"v2, host path in container": {"0::/docker/f00/sub\n", strings.Replace(mountV2, " / ", " /docker/f00 ", 1),
			"sub/memory.max=8000\n|memory.max=6000\n|docker/f00/memory.max=1\n", 6000},
		"v2, mount of another container": {"0::/docker/f00bar\n", strings.Replace(mountV2, " / ", " /docker/f00 ", 1),
			"memory.max=6000\n|bar/memory.max=1\n|f00bar/memory.max=1\n", 6000},
		"v2, the second mount fits": {"0::/a/b\n", strings.Replace(mountV2, " / /sys/fs/cgroup", " /x /mnt", 1) + mountV2,
			"a/memory.max=6000\n", 6000},
		"v2, blank in the path": {"0::/a b\n", mountV2, "a b/memory.max=6000\n", 6000},
		"v2, colon in the path": {"0::/a:b\n", mountV2, "a:b/memory.max=6000\n", 6000},
		"v2, escaped mount": {"0::/a\n", strings.Replace(mountV2, "/sys/fs/cgroup ", `/sys/fs/cgroup/c\040g\134 `, 1),
			`c g\/a/memory.max=6000` + "\n", 6000},
		"v1":               {"4:memory:/app\n", mountV1, "memory/app/memory.stat=" + v1Stat + "|memory/app/memory.limit_in_bytes=99\n", 3 << 20},
		"v1, unlimited":    {"4:memory:/app\n", mountV1, "memory/app/memory.stat=" + v1None, 0},
		"v1, without stat": {"4:memory:/app\n", mountV1, "memory/app/memory.limit_in_bytes=8192\n", 8192},
		"v1, stat without it": {"4:cpu,memory:/app\n", mountV1,
			"memory/app/memory.stat=cache 1\n|memory/app/memory.limit_in_bytes=9223372036854771712\n", 0},
		"v1, nothing":              {"4:memory:/app\n", mountV1, "", 0},
		"v1, other controllers":    {"4:memoryx,cpu:/app\n", mountV1, "memory/app/memory.stat=" + v1Stat, 0},
		"v1, named":                {"4:name=memory:/app\n", mountV1, "memory/app/memory.stat=" + v1Stat, 0},
		"hybrid, v1 has it":        {"4:memory:/app\n0::/app\n", mountHybrid, "memory/app/memory.stat=" + v1Stat, 3 << 20},
		"hybrid, v2 is tighter":    {"4:memory:/app\n0::/app\n", mountHybrid, "memory/app/memory.stat=" + v1Stat + "|unified/app/memory.max=5000\n", 5000},
		"not mounted":              {"4:memory:/app\n0::/app\n", mountOthers, "memory/app/memory.stat=" + v1Stat, 0},
		"beside other mounts":      {"0::/app", mountOthers + mountV2, "app/memory.max=4096", 4096},
		"lines that make no sense": {"\n0\n::\n0::/app\n", mountV2, "app/memory.max=4096\n", 4096},
	} {
		root := fstest.MapFS{
			"proc/self/cgroup":    {Data: []byte(c.groups)},
			"proc/self/mountinfo": {Data: []byte(c.mounts)},
		}
		for file := range strings.SplitSeq(c.files, "|") {
			if name, text, ok := strings.Cut(file, "="); ok {
				root["sys/fs/cgroup/"+name] = &fstest.MapFile{Data: []byte(text)}
			}
		}
		if got, err := cgroupLimit(root); got != c.want || err != nil {
			t.Errorf("%s: %d bytes, %v, want %d", name, got, err, c.want)
		}
	}
}

// What can be read counts, and what can't is said.
func TestCgroupLimitErrors(t *testing.T) {
	file := func(text string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(text)} }
	for name, c := range map[string]struct {
		root   fs.FS
		want   uint64
		failed bool
	}{
		"no cgroups": {fstest.MapFS{}, 0, false},
		"no mounts":  {fstest.MapFS{"proc/self/cgroup": file("0::/\n")}, 0, true},
		"no number": {fstest.MapFS{"proc/self/cgroup": file("0::/a\n"), "proc/self/mountinfo": file(mountV2),
			"sys/fs/cgroup/a/memory.max": file("many\n"), "sys/fs/cgroup/memory.max": file("5\n")}, 5, true},
		"empty v1 limit": {fstest.MapFS{"proc/self/cgroup": file("1:memory:/\n"), "proc/self/mountinfo": file(mountV1),
			"sys/fs/cgroup/memory/memory.limit_in_bytes": file("")}, 0, true},
		"unreadable groups": {denied{fstest.MapFS{}, "proc/self/cgroup"}, 0, true},
		"unreadable v2 level": {denied{fstest.MapFS{"proc/self/cgroup": file("0::/a/b\n"), "proc/self/mountinfo": file(mountV2),
			"sys/fs/cgroup/a/b/memory.max": file("7\n")}, "sys/fs/cgroup/a/memory.max"}, 7, true},
		"unreadable v1 stat": {denied{fstest.MapFS{"proc/self/cgroup": file("1:memory:/\n"), "proc/self/mountinfo": file(mountV1),
			"sys/fs/cgroup/memory/memory.limit_in_bytes": file("9\n")}, "sys/fs/cgroup/memory/memory.stat"}, 9, false},
		"unreadable v1": {denied{fstest.MapFS{"proc/self/cgroup": file("1:memory:/\n"), "proc/self/mountinfo": file(mountV1)},
			"sys/fs/cgroup/memory/memory.stat"}, 0, true},
	} {
		if got, err := cgroupLimit(c.root); got != c.want || (err != nil) != c.failed {
			t.Errorf("%s: %d bytes, %v, want %d", name, got, err, c.want)
		}
	}
}

// denied is a tree with one file that may not be read.
type denied struct {
	fs.FS
	file string
}

func (d denied) Open(name string) (fs.File, error) {
	if name == d.file {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrPermission}
	}
	return d.FS.Open(name)
}

func TestCgroupLimitHere(t *testing.T) {
	n, err := CgroupLimit()
	if errors.Is(err, errors.ErrUnsupported) {
		t.Skip(err)
	}
	if err != nil {
		t.Error(err)
	}
	t.Logf("%d bytes", n)
}
