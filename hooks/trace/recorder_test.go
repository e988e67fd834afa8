package trace

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/slubd/slubd/hooks"
	"github.com/slubd/slubd/internal/testutil"
)

// program allocates and frees objects at random and notes the events that a trace should have.
type program struct {
	recorder *Recorder
	random   *rand.Rand
	live     []hooks.Object
	number   map[uintptr]uint32
	numbers  numbers
	events   []Event
}

func newProgram(t *testing.T, w io.Writer, c Config) *program {
	t.Helper()
	r, err := New(w, c)
	if err != nil {
		t.Fatal(err)
	}
	return &program{recorder: r, random: rand.New(rand.NewPCG(testutil.Seed(t), 0)), number: map[uintptr]uint32{}}
}

// secret is the name of the program's cache, and base is where its objects begin.
const (
	secret = "customers"
	base   = 0x7e57ab1e0000
)

func (p *program) run(n int) {
	for range n {
		if i := p.random.IntN(2 * (len(p.live) + 1)); i < len(p.live) {
			o := p.live[i]
			p.live = slices.Delete(p.live, i, i+1)
			p.events = append(p.events, Event{Number: p.number[o.Addr]})
			p.numbers.put(p.number[o.Addr])
			p.recorder.Free(o)
			continue
		}
		o := hooks.Object{Cache: secret, Addr: base + uintptr(len(p.events))*4096, Size: 1 + p.random.Int64N(10_000)}
		p.live = append(p.live, o)
		p.number[o.Addr] = p.numbers.take()
		p.events = append(p.events, Event{Number: p.number[o.Addr], Size: uint32(o.Size)})
		p.recorder.Alloc(o)
	}
}

func TestRoundTrip(t *testing.T) {
	var b bytes.Buffer
	p := newProgram(t, &b, Config{})
	p.run(50_000)
	stats := p.recorder.Stats()
	if stats != (Stats{Recording: true, Events: 50_000, Objects: len(p.live)}) {
		t.Errorf("%+v", stats)
	}
	if err := errors.Join(p.recorder.Close(), p.recorder.Close()); err != nil {
		t.Fatal(err)
	}
	p.recorder.Alloc(hooks.Object{Addr: 1, Size: 8}) // after the end
	raw := unzip(t, b.Bytes())
	got, err := Read(bytes.NewReader(b.Bytes()), Limits{})
	if err != nil {
		t.Fatalf("what was recorded can't be read: %v", err)
	}
	if !slices.Equal(got.Events, p.events) || got.Objects != int(p.numbers.next) || got.Ended != nil {
		t.Fatalf("%d events of %d, %d objects, %v", len(got.Events), len(p.events), got.Objects, got.Ended)
	}
	var inUse, peak int64
	sizes := map[uint32]int64{}
	for _, e := range p.events {
		if e.Size == 0 {
			inUse -= sizes[e.Number]
			continue
		}
		sizes[e.Number] = int64(e.Size)
		inUse += sizes[e.Number]
		peak = max(peak, inUse)
	}
	if got.Peak != peak {
		t.Errorf("the peak is %d bytes, not %d", got.Peak, peak)
	}
	if bytes.Contains(raw, []byte(secret)) {
		t.Error("the trace has the name of the cache")
	}
	if per := float64(len(raw)) / 50_000; per > 3 {
		t.Errorf("%.1f bytes for each event: there is more in the trace than sizes and numbers", per)
	}
}

func unzip(t *testing.T, b []byte) []byte {
	t.Helper()
	zip, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	raw, err := io.ReadAll(zip)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// Several goroutines record, each with addresses of its own. Whatever the order, the trace is valid
// and complete.
func TestGoroutinesRecord(t *testing.T) {
	var b bytes.Buffer
	r, err := New(&b, Config{})
	if err != nil {
		t.Fatal(err)
	}
	const goroutines, pairs = 4, 2000
	var all sync.WaitGroup
	for g := range uintptr(goroutines) {
		all.Go(func() {
			h := r.Hooks()
			for i := range uintptr(pairs) {
				o := hooks.Object{Addr: (g*8 + i%8 + 1) * 64, Size: 64}
				h.Alloc(o)
				if h.Free(o) {
					t.Error("the recorder keeps an object")
				}
			}
		})
	}
	all.Wait()
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	got, err := Read(&b, Limits{})
	if err != nil || len(got.Events) != 2*goroutines*pairs || got.Objects > goroutines || got.Peak > goroutines*64 {
		t.Errorf("%+v, %v", got, err)
	}
}

// A free that the recorder doesn't see ends with the next object at the address. A free of what it
// has not seen allocated is none.
func TestHooksOfOthers(t *testing.T) {
	var b bytes.Buffer
	r, err := New(&b, Config{})
	if err != nil {
		t.Fatal(err)
	}
	r.Free(hooks.Object{Addr: 8, Size: 8})
	r.Alloc(hooks.Object{Addr: 8, Size: 8})
	r.Alloc(hooks.Object{Addr: 8, Size: 16})
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	got, err := Read(&b, Limits{})
	if want := []Event{{0, 8}, {0, 0}, {0, 16}}; err != nil || !slices.Equal(got.Events, want) {
		t.Errorf("%+v, %v", got, err)
	}
}

// failing is a writer that fails after some bytes, and calls back at the first failure.
type failing struct {
	left   int
	failed func()
}

var errDisk = errors.New("no space left on device")

func (f *failing) Write(p []byte) (int, error) {
	if f.left -= len(p); f.left < 0 {
		f.failed()
		return 0, errDisk
	}
	return len(p), nil
}

// The program goes on when the writer fails, and the recording ends.
func TestWriterError(t *testing.T) {
	for _, left := range []int{0, 5000} {
		failed := make(chan struct{})
		var once sync.Once
		p := newProgram(t, &failing{left, func() { once.Do(func() { close(failed) }) }}, Config{Buffer: 2 * chunkSize})
		p.run(1000)
	recording:
		for { // until the goroutine has met the error, or the buffer is full before that
			p.run(1000)
			select {
			case <-failed:
				break recording
			default:
			}
			if !p.recorder.Stats().Recording {
				break
			}
		}
		if err := p.recorder.Close(); !errors.Is(err, errDisk) {
			t.Errorf("after %d bytes: %v", left, err)
		}
		p.run(1000)
	}
}

// stuck is a writer that writes nothing until it is released.
type stuck struct {
	release chan struct{}
	bytes.Buffer
}

func (s *stuck) Write(p []byte) (int, error) {
	<-s.release
	return s.Buffer.Write(p)
}

// A recording that reaches a bound ends there: its trace is what came before, and says why.
func TestBounds(t *testing.T) {
	for _, c := range []struct {
		want   error
		config Config
	}{
		{ErrOverrun, Config{Buffer: 2 * chunkSize}},
		{ErrObjects, Config{MaxObjects: 100}},
		{ErrEvents, Config{MaxEvents: 1000}},
	} {
		w := &stuck{release: make(chan struct{})}
		p := newProgram(t, w, c.config)
		for p.recorder.Stats().Recording {
			p.run(100)
		}
		p.run(100)
		close(w.release)
		if err := p.recorder.Close(); !errors.Is(err, c.want) {
			t.Errorf("%v, want %v", err, c.want)
		}
		got, err := Read(&w.Buffer, Limits{})
		if err != nil || !errors.Is(got.Ended, c.want) {
			t.Fatalf("%v: the trace says %+v, %v", c.want, got, err)
		}
		if n := len(got.Events); n == 0 || n >= len(p.events) || !slices.Equal(got.Events, p.events[:n]) {
			t.Errorf("%v: %d events are not the first of %d", c.want, n, len(p.events))
		}
		if c.want == ErrEvents && len(got.Events) != 1000 || c.want == ErrObjects && got.Objects != 100 {
			t.Errorf("%v: %d events, %d objects", c.want, len(got.Events), got.Objects)
		}
	}
	var b bytes.Buffer
	p := newProgram(t, &b, Config{})
	p.recorder.Alloc(hooks.Object{Addr: 8, Size: MaxSize})
	p.recorder.Alloc(hooks.Object{Addr: 16, Size: MaxSize + 1})
	if err := p.recorder.Close(); !errors.Is(err, ErrTooLarge) {
		t.Error(err)
	}
	if got, err := Read(&b, Limits{}); err != nil || !slices.Equal(got.Events, []Event{{0, MaxSize}}) {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestConfigErrors(t *testing.T) {
	for _, c := range []Config{{MaxObjects: -1}, {MaxEvents: -1}, {Buffer: -1}, {Buffer: 2*chunkSize - 1}} {
		if _, err := New(io.Discard, c); !errors.Is(err, ErrConfig) || !strings.Contains(err.Error(), "Config") {
			t.Errorf("%+v: %v", c, err)
		}
	}
}
