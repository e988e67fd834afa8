package main

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/slubd/slubd/cmd/slubd-bench/internal/machine"
	"github.com/slubd/slubd/cmd/slubd-bench/internal/native"
	"github.com/slubd/slubd/cmd/slubd-bench/internal/replay"
	"github.com/slubd/slubd/cmd/slubd-bench/internal/runner"
	"github.com/slubd/slubd/hooks"
	"github.com/slubd/slubd/hooks/trace"
	"github.com/slubd/slubd/internal/testutil"
	"github.com/slubd/slubd/slub"
)

// shipped are the traces of this module.
func shipped(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob("testdata/*.trace.gz")
	if err != nil || len(files) != 2 {
		t.Fatalf("%v, %v", files, err)
	}
	return files
}

// TestShippedTraces replays them on each allocator. The runner compares the checksums.
func TestShippedTraces(t *testing.T) {
	if testutil.Instrumented {
		t.Skip("TestTraceChecksums shows the race detector the same loops, with fewer objects")
	}
	files := shipped(t)
	code, stdout, stderr := bench(t, "-trace", strings.Join(files, ","), "-threads", "2", "-benchtime", "1ms", "-count", "1")
	for _, want := range []string{"\ntrace-kvd-evict", "\ntrace-kvd-steady", "kvd-evict.trace.gz: a cycle of "} {
		if code != exitOK || !strings.Contains(stdout, want) {
			t.Errorf("exit %d, no %q in\n%s%s", code, want, stdout, stderr)
		}
	}
	for _, name := range []string{"slubd", "go", "pool"} {
		if !strings.Contains(stdout, name) {
			t.Errorf("no %s", name)
		}
	}
	if native.Available && !strings.Contains(stdout, "malloc") {
		t.Error("no malloc")
	}
	if strings.Contains(stdout, "geometric mean") {
		t.Error("traces count for the mean of the suite")
	}
}

// TestShippedTracesAreSmall bounds what a checkout has to carry, and looks at what they are of.
func TestShippedTracesAreSmall(t *testing.T) {
	for _, file := range shipped(t) {
		info, err := os.Stat(file)
		if err != nil || info.Size() > 400<<10 {
			t.Errorf("%s: %v bytes, %v", file, info.Size(), err)
		}
		r, err := replay.Load(file)
		if err != nil || r.Pairs() < 20_000 || len(r.Sizes) < 5 || r.Objects < 1000 || strings.Contains(r.Note, ";") {
			t.Errorf("%s: %d objects, %d at a time, sizes %v, %q, %v", file, r.Pairs(), r.Objects, r.Sizes, r.Note, err)
		}
	}
}

func TestTracesOfFlag(t *testing.T) {
	files := shipped(t)
	text, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	same := filepath.Join(t.TempDir(), filepath.Base(files[0]))
	if err := os.WriteFile(same, text, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := traces(files[0] + "," + same); err == nil || !strings.Contains(err.Error(), "would both be called trace-kvd-evict") {
		t.Errorf("two of one name: %v", err)
	}
	all, err := traces(files[0] + ", " + files[1])
	if err != nil || len(all) != 2 || !filepath.IsAbs(all[1].File) {
		t.Errorf("%v, %v", all, err)
	}
	if _, err := traces("nowhere"); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	if _, err := traces("main.go"); !errors.Is(err, trace.ErrFormat) {
		t.Error(err)
	}
}

// TestTraceNeedsMemory has a trace of a program with more memory than the machine.
func TestTraceNeedsMemory(t *testing.T) {
	o := options{machine: &machine.Machine{Nodes: []machine.Node{{Memory: 600}, {Memory: 424}}}}
	o.choice.Threads = []int{1, 4}
	o.choice.Traces = []runner.Trace{{File: "a.trace", Replay: &replay.Replay{Peak: 128}}}
	if err := o.roomy(); err != nil {
		t.Error(err)
	}
	o.choice.Traces[0].Peak = 129
	if err := o.roomy(); err == nil || !strings.Contains(err.Error(), "a.trace needs 516 bytes with 4 threads") {
		t.Error(err)
	}
	o.machine.Nodes = nil // the kernel doesn't tell
	if err := o.roomy(); err != nil {
		t.Error(err)
	}
}

// BenchmarkRecorder is what a recording costs Malloc and Free, next to hooks that do nothing.
func BenchmarkRecorder(b *testing.B) {
	r, err := trace.New(io.Discard, trace.Config{MaxEvents: 1 << 40})
	if err != nil {
		b.Fatal(err)
	}
	for name, h := range map[string]hooks.Hooks{
		"without":  {},
		"empty":    {Alloc: func(hooks.Object) {}, Free: func(hooks.Object) bool { return false }},
		"recorded": r.Hooks(),
	} {
		b.Run(name, func(b *testing.B) {
			buckets, err := slub.NewBuckets(nil, slub.BucketsConfig{Hooks: h})
			if err != nil {
				b.Fatal(err)
			}
			for b.Loop() {
				p, err := buckets.Malloc(100)
				if err != nil {
					b.Fatal(err)
				}
				buckets.Free(p)
			}
			if err := buckets.Close(); err != nil {
				b.Error(err)
			}
		})
	}
	if err := r.Close(); err != nil {
		b.Error(err)
	}
}
