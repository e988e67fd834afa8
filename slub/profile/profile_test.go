package profile_test

import (
	"bytes"
	"errors"
	"fmt"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	pprof "github.com/google/pprof/profile"

	"github.com/slubd/slubd/internal/testutil"
	"github.com/slubd/slubd/slub"
	"github.com/slubd/slubd/slub/profile"
)

const (
	objectSize = 1024
	planted    = 20 << 20 // bytes
	rate       = 32 << 10
)

//go:noinline
func plantedLeak(t *testing.T, c *slub.Cache, bytes int) (objs []unsafe.Pointer) {
	for range bytes / objectSize {
		p, err := c.Alloc()
		if err != nil {
			t.Fatal(err)
		}
		objs = append(objs, p)
	}
	return objs
}

//go:noinline
func balanced(t *testing.T, c *slub.Cache) {
	for range 4 * planted / objectSize {
		p, err := c.Alloc()
		if err != nil {
			t.Fatal(err)
		}
		c.Free(p)
	}
}

// runs is how often TestPprofShowsTheLeak has begun in this process.
var runs atomic.Int32

// top runs go tool pprof -top, and returns the flat MiB and the percentage of a function in a
// cache; 0 if it is not there.
func top(t *testing.T, file, cache, sample, function string) (mib, percent float64) {
	t.Helper()
	out, err := exec.Command("go", "tool", "pprof", "-top", "-nodecount=20", "-unit=mb", "-tagfocus=cache="+cache, "-sample_index="+sample, file).CombinedOutput()
	if err != nil {
		t.Fatalf("go tool pprof: %v\n%s", err, out)
	}
	m := regexp.MustCompile(`(?m)^\s*([\d.]+)MB\s+([\d.]+)%.*profile_test\.` + function + `$`).FindSubmatch(out)
	if m == nil {
		t.Logf("%s", out)
		return 0, 0
	}
	mib, _ = strconv.ParseFloat(string(m[1]), 64)
	percent, _ = strconv.ParseFloat(string(m[2]), 64)
	return mib, percent
}

// written returns a file with the profile.
func written(t *testing.T) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "profile")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := profile.Write(f); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}

// Without any setting a leak of 50 MiB is in the profile.
func TestLeakShowsByDefault(t *testing.T) {
	testutil.Need(t, "go", "golang-go")
	// What is no number leaves the rate automatic, with a warning, and is not replaced by TestMain.
	if !testutil.Child(t, "SLUBD_PROFILE_RATE=automatic") {
		return
	}
	c, err := slub.New(nil, slub.Config{Name: "sessions", Size: objectSize})
	if err != nil {
		t.Fatal(err)
	}
	// A leak takes its time. The governor makes samples rare where 50 MiB are allocated in some
	// milliseconds, and how rare depends on the machine: so how near the estimate is to 50 is not
	// looked at here.
	for range 200 {
		plantedLeak(t, c, 256<<10)
		time.Sleep(time.Millisecond)
	}
	balanced(t, c)
	if mib, percent := top(t, written(t), "sessions", "inuse_space", "plantedLeak"); mib < 5 || percent < 99 {
		t.Errorf("of 50 MiB in use at the leak the profile shows %.2f, %.2f %%", mib, percent)
	}
}

// go tool pprof shows a planted leak at the function that allocated, and not the site beside it
// that allocates more and frees all of it. The same profile comes by HTTP.
func TestPprofShowsTheLeak(t *testing.T) {
	testutil.Need(t, "go", "golang-go")
	// A name for each run: the profile keeps what earlier ones have allocated.
	name := fmt.Sprintf("profiled-%06d", runs.Add(1))
	g, err := slub.NewGroup(slub.GroupConfig{Name: "tenant"})
	if err != nil {
		t.Fatal(err)
	}
	c, err := slub.New(nil, slub.Config{Name: name, Size: objectSize, ProfileRate: rate, Tag: "tests", Group: g})
	if err != nil {
		t.Fatal(err)
	}
	objs := plantedLeak(t, c, planted)
	balanced(t, c)

	file := written(t)
	// 640 samples are expected: seven standard deviations are a quarter.
	if mib, percent := top(t, file, name, "inuse_space", "plantedLeak"); mib < 14 || mib > 26 || percent < 99 {
		t.Errorf("of 20 MiB in use at the leak the profile shows %.2f, %.2f %%", mib, percent)
	}
	if mib, _ := top(t, file, name, "inuse_space", "balanced"); mib != 0 {
		t.Errorf("the site that frees its objects has %.2f MiB in use", mib)
	}
	if mib, _ := top(t, file, name, "alloc_space", "balanced"); mib < 66 || mib > 94 {
		t.Errorf("of 80 MiB the site that frees its objects has allocated %.2f", mib)
	}

	w := httptest.NewRecorder()
	profile.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/debug/pprof/slubd", nil))
	p, err := pprof.Parse(bytes.NewReader(w.Body.Bytes()))
	if err != nil {
		t.Fatal(err)
	}
	if err := p.CheckValid(); err != nil {
		t.Error(err)
	}
	found := false
	for _, s := range p.Sample {
		if s.Label["cache"][0] == name && s.Value[3] > 10<<20 {
			_, err := strconv.Atoi(s.Label["node"][0])
			found = s.Label["tag"][0] == "tests" && slices.Equal(s.Label["group"], []string{"tenant"}) &&
				s.NumLabel["bytes"][0] == objectSize && err == nil
		}
	}
	if !found || p.DefaultSampleType != "inuse_space" {
		t.Errorf("the served profile is %v", p)
	}
	// Tools look up by its address where a location is, among the mappings.
	for _, l := range p.Location {
		if m := l.Mapping; l.Address < m.Start || m.Limit <= l.Address || m.File == "" {
			t.Errorf("location %#x is not in its mapping, %+v", l.Address, m)
		}
	}
	for _, obj := range objs {
		c.Free(obj)
	}
	if err := errors.Join(c.Close(), g.Close()); err != nil {
		t.Error(err)
	}
}
