package trace

import (
	"compress/gzip"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/slubd/slubd/hooks"
)

// Config bounds a Recorder. In every field 0 means automatic.
type Config struct {
	// MaxObjects is the most objects in use at a time. The Recorder keeps some 40 bytes of each.
	// 0 is automatic: 1,048,576.
	MaxObjects int
	// MaxEvents is the most allocations and frees. 0 is automatic: 16,777,216, which Read takes
	// without other Limits.
	MaxEvents int64
	// Buffer is how many bytes of records may wait for the writer, at least 128 KiB. 0 is
	// automatic: 4 MiB.
	Buffer int64
}

const (
	autoObjects = 1 << 20
	autoEvents  = 1 << 24
	autoBuffer  = 4 << 20
	// chunkSize is how many bytes go to the writer at a time.
	chunkSize = 64 << 10
)

// ErrConfig reports a Config with a field that is out of its range.
var ErrConfig = errors.New("trace: bad Config")

// Recorder writes a trace. Its hooks may be those of any number of caches and Buckets, at the same
// time. Make one with New before them, so that it sees each object from the beginning.
//
// All methods may be called by any goroutine at any time. Each event takes the lock, so goroutines
// that allocate at the same time wait for each other, AllocNoWait's included: some 50 to 100 ns for
// each event.
type Recorder struct {
	config Config
	on     atomic.Bool // whether events are recorded; cleared under mu, once

	mu     sync.Mutex
	live   map[uintptr]uint32 // numbers of the objects in use, by address
	number numbers
	chunk  []byte // records that were not passed on
	begin  time.Time
	ticks  int64 // units of Resolution from begin that are in the trace
	events int64
	reason int // index into reasons, set when on is cleared

	// Chunks go to the writer's goroutine by full and come back by spare. There are as many as fit
	// into either channel, so that neither goroutine ever waits to send.
	full, spare chan []byte
	written     chan struct{} // closed when the goroutine has ended
	zip         *gzip.Writer  // of the goroutine; of Close when that has ended
	failed      error         // of the writer; the same

	close sync.Once
	err   error // what Close returns
}

// New starts a recording into w, which only one goroutine at a time uses. The error is ErrConfig.
func New(w io.Writer, c Config) (*Recorder, error) {
	if c.MaxObjects < 0 || c.MaxEvents < 0 || c.Buffer < 0 || c.Buffer > 0 && c.Buffer < 2*chunkSize {
		return nil, fmt.Errorf("%w: %+v", ErrConfig, c)
	}
	automatic(&c.MaxObjects, autoObjects)
	automatic(&c.MaxEvents, autoEvents)
	automatic(&c.Buffer, autoBuffer)
	chunks := int(c.Buffer / chunkSize)
	zip, _ := gzip.NewWriterLevel(w, gzip.BestSpeed) // fails for other levels only
	r := &Recorder{
		config: c, live: map[uintptr]uint32{}, begin: time.Now(), zip: zip,
		full: make(chan []byte, chunks), spare: make(chan []byte, chunks), written: make(chan struct{}),
	}
	for range chunks - 1 {
		r.spare <- nil // memory is allocated when it is needed
	}
	r.chunk = append(make([]byte, 0, chunkSize), magic...)
	r.on.Store(true)
	go r.write()
	return r, nil
}

func automatic[N int | int64](field *N, value N) {
	if *field == 0 {
		*field = value
	}
}

// Hooks returns the hooks of the Recorder, for slub.Config or slub.BucketsConfig. A program that
// has hooks of its own calls Alloc and Free from them instead.
func (r *Recorder) Hooks() hooks.Hooks { return hooks.Hooks{Alloc: r.Alloc, Free: r.Free} }

// Alloc records that an object was allocated.
func (r *Recorder) Alloc(o hooks.Object) {
	if !r.on.Load() {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if old, known := r.live[o.Addr]; known {
		r.record(kindFree, uint64(old)) // a hook of the program's own has kept it from Free
		r.number.put(old)
		delete(r.live, o.Addr)
	}
	switch {
	case o.Size > MaxSize:
		r.end(ErrTooLarge)
	case r.number.inUse() >= r.config.MaxObjects:
		r.end(ErrObjects)
	case r.record(kindAlloc, uint64(o.Size)):
		r.live[o.Addr] = r.number.take()
	}
}

// Free records that an object was freed. It never keeps one.
func (r *Recorder) Free(o hooks.Object) (keep bool) {
	if !r.on.Load() {
		return false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	// An object that is not known was allocated before the Recorder was there.
	if number, known := r.live[o.Addr]; known && r.record(kindFree, uint64(number)) {
		r.number.put(number)
		delete(r.live, o.Addr)
	}
	return false
}

// record appends an event, after the time if that has changed. It reports false if the recording
// has ended. mu is held.
func (r *Recorder) record(kind int, value uint64) bool {
	if !r.on.Load() {
		return false
	}
	if r.events >= r.config.MaxEvents {
		return r.end(ErrEvents)
	}
	if cap(r.chunk)-len(r.chunk) < 2*maxRecord && !r.passOn() {
		return r.end(ErrOverrun)
	}
	if passed := int64(time.Since(r.begin)/Resolution) - r.ticks; passed > 0 {
		r.chunk = appendRecord(r.chunk, kindTime, uint64(passed))
		r.ticks += passed
	}
	r.chunk = appendRecord(r.chunk, kind, value)
	r.events++
	return true
}

// passOn gives the chunk to the writer and takes a new one. It reports false if there is none. mu
// is held.
func (r *Recorder) passOn() bool {
	select {
	case next := <-r.spare:
		r.full <- r.chunk
		if next == nil {
			next = make([]byte, 0, chunkSize)
		}
		r.chunk = next[:0]
		return true
	default:
		return false
	}
}

// end ends the recording for a reason, and returns false. mu is held.
func (r *Recorder) end(reason error) bool {
	if !r.on.Load() {
		return false
	}
	for i, known := range reasons {
		if known == reason {
			r.reason = i
		}
	}
	r.on.Store(false)
	r.live = nil
	return false
}

// write is the goroutine that compresses and writes chunks. After an error it still takes them, and
// gives them back unwritten.
func (r *Recorder) write() {
	defer close(r.written)
	for chunk := range r.full {
		if r.failed == nil {
			if _, r.failed = r.zip.Write(chunk); r.failed != nil {
				r.mu.Lock()
				r.end(nil)
				r.mu.Unlock()
			}
		}
		r.spare <- chunk
	}
}

// Close ends the recording, waits until all is written, and writes the end of the trace. It doesn't
// close the writer. The error is the writer's, or says why the recording has ended before: it wraps
// ErrObjects, ErrEvents, ErrOverrun or ErrTooLarge. Close may be called again and returns the same.
func (r *Recorder) Close() error {
	r.close.Do(func() {
		r.mu.Lock()
		r.end(nil)
		r.mu.Unlock() // from here on no hook touches what mu guards
		close(r.full)
		<-r.written
		r.err = r.finish()
	})
	return r.err
}

// finish writes what no chunk has.
func (r *Recorder) finish() error {
	err := r.failed
	if err == nil {
		rest := appendRecord(r.chunk, kindEnd, uint64(r.reason))
		_, err = r.zip.Write(binary.AppendUvarint(rest, uint64(r.events)))
	}
	if err == nil {
		err = r.zip.Close()
	}
	if err != nil {
		err = fmt.Errorf("trace: writing: %w", err)
	}
	if reason := reasons[r.reason]; reason != nil {
		err = errors.Join(err, fmt.Errorf("trace: the recording has ended after %d events: %w", r.events, reason))
	}
	return err
}

// Stats is what a Recorder has done so far.
type Stats struct {
	Recording bool  // whether events are still recorded
	Events    int64 // number of allocations and frees recorded
	Objects   int   // number of those allocated and not freed in the trace
}

// Stats returns what has been recorded. After an early end a program may close the Recorder, which
// says why, and start another.
func (r *Recorder) Stats() Stats {
	r.mu.Lock()
	defer r.mu.Unlock()
	return Stats{Recording: r.on.Load(), Events: r.events, Objects: r.number.inUse()}
}
