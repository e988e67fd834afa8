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
		"v2":                          {groups: "0::/app\n", mounts: mountV2, files: "app/memory.max=4096\n", want: 4096},
		"v2, high is tighter":         {groups: "0::/a/b\n", mounts: mountV2, files: "a/b/memory.max=9000\n|a/b/memory.high=7000\n", want: 7000},
		"v2, parent's high":           {groups: "0::/a/b\n", mounts: mountV2, files: "a/b/memory.max=max\n|a/b/memory.high=max\n|a/memory.high=6000\n|a/memory.max=8000\n", want: 6000},
		"v2, max":                     {groups: "0::/app\n", mounts: mountV2, files: "app/memory.max=max\n"},
		"v2, nothing":                 {groups: "0::/app\n", mounts: mountV2},
		"v2, parent is tighter":       {groups: "0::/a/b/c\n", mounts: mountV2, files: "a/b/c/memory.max=9000\n|a/b/memory.max=max\n|a/memory.max=5000\n", want: 5000},
		"v2, child is tighter":        {groups: "0::/a/b/c\n", mounts: mountV2, files: "a/b/c/memory.max=3000\n|a/memory.max=5000\n", want: 3000},
		"v2, middle without the file": {groups: "0::/a/b/c\n", mounts: mountV2, files: "a/b/c/memory.max=max\n|a/memory.max=5000\n", want: 5000},
		"v2, own namespace":           {groups: "0::/\n", mounts: mountV2, files: "memory.max=7000\n", want: 7000},
		"v2, outside its namespace":   {groups: "0::/../../x\n", mounts: mountV2, files: "memory.max=7000\n|x/memory.max=1\n", want: 7000},
		"v2, sibling":                 {groups: "0::/a\n", mounts: mountV2, files: "ab/memory.max=1000\n"},
		"v2, limit of nothing":        {groups: "0::/a\n", mounts: mountV2, files: "a/memory.max=0\n", want: 1},
		"v2, host path in container": {groups: "0::/docker/f00/sub\n", mounts: strings.Replace(mountV2, " / ", " /docker/f00 ", 1),
			files: "sub/memory.max=8000\n|memory.max=6000\n|docker/f00/memory.max=1\n", want: 6000},
		"v2, mount of another container": {groups: "0::/docker/f00bar\n", mounts: strings.Replace(mountV2, " / ", " /docker/f00 ", 1),
			files: "memory.max=6000\n|bar/memory.max=1\n|f00bar/memory.max=1\n", want: 6000},
		"v2, the second mount fits": {groups: "0::/a/b\n", mounts: strings.Replace(mountV2, " / /sys/fs/cgroup", " /x /mnt", 1) + mountV2,
			files: "a/memory.max=6000\n", want: 6000},
		"v2, blank in the path": {groups: "0::/a b\n", mounts: mountV2, files: "a b/memory.max=6000\n", want: 6000},
		"v2, colon in the path": {groups: "0::/a:b\n", mounts: mountV2, files: "a:b/memory.max=6000\n", want: 6000},
		"v2, escaped mount": {groups: "0::/a\n", mounts: strings.Replace(mountV2, "/sys/fs/cgroup ", `/sys/fs/cgroup/c\040g\134 `, 1),
			files: `c g\/a/memory.max=6000` + "\n", want: 6000},
		"v1":               {groups: "4:memory:/app\n", mounts: mountV1, files: "memory/app/memory.stat=" + v1Stat + "|memory/app/memory.limit_in_bytes=99\n", want: 3 << 20},
		"v1, unlimited":    {groups: "4:memory:/app\n", mounts: mountV1, files: "memory/app/memory.stat=" + v1None},
		"v1, without stat": {groups: "4:memory:/app\n", mounts: mountV1, files: "memory/app/memory.limit_in_bytes=8192\n", want: 8192},
		"v1, stat without it": {groups: "4:cpu,memory:/app\n", mounts: mountV1,
			files: "memory/app/memory.stat=cache 1\n|memory/app/memory.limit_in_bytes=9223372036854771712\n"},
		"v1, nothing":              {groups: "4:memory:/app\n", mounts: mountV1},
		"v1, other controllers":    {groups: "4:memoryx,cpu:/app\n", mounts: mountV1, files: "memory/app/memory.stat=" + v1Stat},
		"v1, named":                {groups: "4:name=memory:/app\n", mounts: mountV1, files: "memory/app/memory.stat=" + v1Stat},
		"hybrid, v1 has it":        {groups: "4:memory:/app\n0::/app\n", mounts: mountHybrid, files: "memory/app/memory.stat=" + v1Stat, want: 3 << 20},
		"hybrid, v2 is tighter":    {groups: "4:memory:/app\n0::/app\n", mounts: mountHybrid, files: "memory/app/memory.stat=" + v1Stat + "|unified/app/memory.max=5000\n", want: 5000},
		"not mounted":              {groups: "4:memory:/app\n0::/app\n", mounts: mountOthers, files: "memory/app/memory.stat=" + v1Stat},
		"beside other mounts":      {groups: "0::/app", mounts: mountOthers + mountV2, files: "app/memory.max=4096", want: 4096},
		"lines that make no sense": {groups: "\n0\n::\n0::/app\n", mounts: mountV2, files: "app/memory.max=4096\n", want: 4096},
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

// The limits that can be read count, and the error says what could not be read.
func TestCgroupLimitErrors(t *testing.T) {
	file := func(text string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(text)} }
	for name, c := range map[string]struct {
		root   fs.FS
		want   uint64
		failed bool
	}{
		"no cgroups": {root: fstest.MapFS{}},
		"no mounts":  {root: fstest.MapFS{"proc/self/cgroup": file("0::/\n")}, failed: true},
		"no number": {root: fstest.MapFS{"proc/self/cgroup": file("0::/a\n"), "proc/self/mountinfo": file(mountV2),
			"sys/fs/cgroup/a/memory.max": file("many\n"), "sys/fs/cgroup/memory.max": file("5\n")}, want: 5, failed: true},
		"empty v1 limit": {root: fstest.MapFS{"proc/self/cgroup": file("1:memory:/\n"), "proc/self/mountinfo": file(mountV1),
			"sys/fs/cgroup/memory/memory.limit_in_bytes": file("")}, failed: true},
		"unreadable groups": {root: denied{FS: fstest.MapFS{}, file: "proc/self/cgroup"}, failed: true},
		"unreadable v2 level": {root: denied{FS: fstest.MapFS{"proc/self/cgroup": file("0::/a/b\n"), "proc/self/mountinfo": file(mountV2),
			"sys/fs/cgroup/a/b/memory.max": file("7\n")}, file: "sys/fs/cgroup/a/memory.max"}, want: 7, failed: true},
		"unreadable v1 stat": {root: denied{FS: fstest.MapFS{"proc/self/cgroup": file("1:memory:/\n"), "proc/self/mountinfo": file(mountV1),
			"sys/fs/cgroup/memory/memory.limit_in_bytes": file("9\n")}, file: "sys/fs/cgroup/memory/memory.stat"}, want: 9},
		"unreadable v1": {root: denied{FS: fstest.MapFS{"proc/self/cgroup": file("1:memory:/\n"), "proc/self/mountinfo": file(mountV1)},
			file: "sys/fs/cgroup/memory/memory.stat"}, failed: true},
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
