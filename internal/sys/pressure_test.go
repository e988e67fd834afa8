package sys

import (
	"io/fs"
	"reflect"
	"testing"
	"testing/fstest"
	"time"
)

// pressureTree is a tree of files like /, with files below /sys/fs/cgroup.
func pressureTree(groups, mounts string, files map[string]string) fstest.MapFS {
	file := func(text string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(text)} }
	root := fstest.MapFS{"proc/self/cgroup": file(groups), "proc/self/mountinfo": file(mounts)}
	for name, text := range files {
		root[name] = file(text)
	}
	return root
}

const (
	someStalled = "some avg10=0.00 avg60=0.00 avg300=0.00 total=478\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=142\n"
	statV2      = "anon 9\nfile 9\ninactive_anon 1\nactive_anon 2\ninactive_file 3\nactive_file 4\nunevictable 9\n"
	statV1      = "cache 9\ninactive_anon 9\ntotal_inactive_anon 1\ntotal_active_anon 2\ntotal_inactive_file 3\ntotal_active_file 4\n"
)

// TestReadPressure: counters of the process' groups up to the topmost one that can be seen, and the
// stalls of the innermost one, or of the system.
func TestReadPressure(t *testing.T) {
	const cg = "sys/fs/cgroup/"
	for name, c := range map[string]struct {
		root   fs.FS
		want   Pressure
		failed bool
	}{
		"no cgroups": {root: fstest.MapFS{}},
		"v2": {root: pressureTree("0::/a/b\n", mountV2, map[string]string{
			cg + "a/b/memory.events": "low 1\nhigh 2\nmax 3\noom 4\noom_kill 5\n", cg + "a/b/memory.stat": statV2,
			cg + "a/memory.events": "low 9\nhigh 0\nmax 7\noom 0\n", cg + "a/b/memory.pressure": someStalled,
			"proc/pressure/memory": "some total=9\n"}),
			want: Pressure{Stalled: 478 * time.Microsecond, Groups: []GroupPressure{
				{Dir: cg + "a/b", AtLimit: 5, OOM: 4, File: 7, Anon: 3}, {Dir: cg + "a", AtLimit: 7}}}},
		"v1": {root: pressureTree("4:memory:/a\n", mountV1, map[string]string{
			cg + "memory/a/memory.failcnt": "12\n", cg + "memory/a/memory.stat": statV1, cg + "memory/memory.failcnt": "3\n",
			"proc/pressure/memory": someStalled}),
			want: Pressure{Stalled: 478 * time.Microsecond, Groups: []GroupPressure{
				{Dir: cg + "memory/a", AtLimit: 12, File: 7, Anon: 3}, {Dir: cg + "memory", AtLimit: 3}}}},
		"a machine's root group": {root: pressureTree("0::/\n", mountV2, map[string]string{"proc/pressure/memory": someStalled}),
			want: Pressure{Stalled: 478 * time.Microsecond}},
		"without PSI": {root: pressureTree("0::/\n", mountV2, map[string]string{cg + "memory.events": "max 1\n"}),
			want: Pressure{Groups: []GroupPressure{{Dir: "sys/fs/cgroup", AtLimit: 1}}}},
		"nonsense": {root: pressureTree("0::/a\n4:memory:/\n", mountHybrid, map[string]string{
			cg + "unified/a/memory.events": "max many\noom 2\nx\n", cg + "memory/memory.failcnt": "many\n",
			cg + "unified/a/memory.pressure": "some total=many\n", "proc/pressure/memory": someStalled}),
			want: Pressure{Stalled: 478 * time.Microsecond, Groups: []GroupPressure{{Dir: cg + "unified/a", OOM: 2}}}, failed: true},
		"unreadable": {root: denied{FS: pressureTree("0::/a\n", mountV2, map[string]string{cg + "memory.events": "max 1\n"}),
			file: cg + "a/memory.events"}, want: Pressure{Groups: []GroupPressure{{Dir: "sys/fs/cgroup", AtLimit: 1}}}, failed: true},
		"unreadable groups": {root: denied{FS: pressureTree("0::/a\n", mountV2, map[string]string{"proc/pressure/memory": someStalled}),
			file: "proc/self/mountinfo"}, want: Pressure{Stalled: 478 * time.Microsecond}, failed: true},
	} {
		got, err := readPressure(c.root)
		if !reflect.DeepEqual(got, c.want) || (err != nil) != c.failed {
			t.Errorf("%s: %+v, %v, want %+v", name, got, err, c.want)
		}
	}
}
