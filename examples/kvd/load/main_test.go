package main

import (
	"context"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"
)

var built struct {
	sync.Once
	path   string
	remove func()
	err    error
}

func TestMain(m *testing.M) {
	code := m.Run()
	if built.remove != nil {
		built.remove()
	}
	os.Exit(code)
}

// kvd builds the program once for all tests, which takes some seconds.
func kvd(t *testing.T) string {
	t.Helper()
	built.Do(func() { built.path, built.remove, built.err = options{}.program(context.Background()) })
	if built.err != nil {
		t.Fatal(built.err)
	}
	return built.path
}

// TestRun measures a few keys on two stores. The figures mean nothing; the table must have them.
func TestRun(t *testing.T) {
	var out, progress strings.Builder
	o := options{kvd: kvd(t), keys: 2000, rate: 2000, length: 300 * time.Millisecond, servers: []string{"slubd", "heap"}, conns: 4,
		gets: 0.9, gogc: "100", small: 100, large: 4096}
	if err := run(t.Context(), o, &out, &progress); err != nil {
		t.Fatalf("%v\n%s", err, progress.String())
	}
	t.Logf("\n%s", out.String())
	for _, want := range []string{`(?m)^ +heap( +[\d.]+){11}$`, `(?m)^ +slubd( +[\d.]+){11}$`, `(?m)^ *slubd/heap( +x[\d.]+){9}$`} {
		if !regexp.MustCompile(want).MatchString(out.String()) {
			t.Errorf("no %s in\n%s", want, out.String())
		}
	}
}

// TestLatencyCountsFromWhenARequestWasDue sends far more than any server answers: the latencies
// must grow with the time that requests were kept back.
func TestLatencyCountsFromWhenARequestWasDue(t *testing.T) {
	var out, progress strings.Builder
	const length = 20 * time.Millisecond
	o := options{kvd: kvd(t), keys: 100, length: length, servers: []string{"heap"}, conns: 1, rate: 5e6,
		gets: 1, gogc: "100", small: 1, large: 1}
	r, err := measure(t.Context(), &o, "heap", o.kvd, &progress)
	if err != nil {
		t.Fatal(err)
	}
	// A hundred thousand requests are due within 20 ms, 200 ns each. With a system call for each
	// they take several times as long, so the last one is late by more than that.
	// measure makes o.length the time that it took, in whole seconds.
	if late := r.tail.Max(); late < int64(length) {
		t.Errorf("the latest of %d requests took %v", r.tail.TotalCount(), time.Duration(late))
	}
	if err := table(&out, o, []result{r}); err != nil {
		t.Error(err)
	}
}

func TestBadOptions(t *testing.T) {
	good := options{keys: 1, length: time.Second, servers: []string{"heap"}, conns: 1, gets: 1, small: 1, large: 1}
	for _, change := range []func(*options){
		func(o *options) { o.keys = 0 },
		func(o *options) { o.servers = []string{"disk"} },
		func(o *options) { o.servers = []string{"slubd"} },
		func(o *options) { o.gets = 2 },
		func(o *options) { o.small = 2 },
		func(o *options) { o.conns = 0 },
	} {
		o := good
		change(&o)
		if err := o.validate(); err == nil {
			t.Errorf("%+v: no error", o)
		}
	}
	if err := good.validate(); err != nil {
		t.Error(err)
	}
}
