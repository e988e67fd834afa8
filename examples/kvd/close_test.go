package main

import (
	"io"
	"strings"
	"testing"
	"time"
)

// TestSlowReaderAtTheEnd ends the daemon while a client has asked for 50 GB and reads all the time.
// The daemon must cut it off after the grace, and lose nothing.
func TestSlowReaderAtTheEnd(t *testing.T) {
	const value, times = 500_000, 100_000
	d := start(t, options{grace: time.Millisecond})
	p := dial(t, d)
	if err := p.send("SET k " + strings.Repeat("v", value)); err != nil {
		t.Fatal(err)
	}
	if got, err := p.reply(); got != "+OK" || err != nil {
		t.Fatal(got, err)
	}
	if err := p.send("MGET" + strings.Repeat(" k", times)); err != nil {
		t.Fatal(err)
	}
	if _, err := p.in.ReadByte(); err != nil { // the replies have begun
		t.Fatal(err)
	}
	read := make(chan int64)
	go func() {
		n, _ := io.Copy(io.Discard, p.in) // ends with the connection
		read <- n
	}()
	d.finish(t)
	if n := <-read; n >= value*times {
		t.Errorf("all of the %d bytes were sent", n)
	}
}

// TestClientThatReadsNothingAtTheEnd is the same for one whose socket is full, so that the daemon
// waits in a write.
func TestClientThatReadsNothingAtTheEnd(t *testing.T) {
	d := start(t, options{grace: time.Millisecond})
	p := dial(t, d)
	if err := p.send("SET k "+strings.Repeat("v", 500_000), "MGET"+strings.Repeat(" k", 1000)); err != nil {
		t.Fatal(err)
	}
	if got, err := p.reply(); got != "+OK" || err != nil {
		t.Fatal(got, err)
	}
	d.finish(t)
	if n, err := io.Copy(io.Discard, p.in); n >= 500_000*1000 {
		t.Errorf("all of the %d bytes were sent, %v", n, err)
	}
}

// TestPipelineIsAnsweredAtTheEnd: a grace that has not passed loses no reply to what was read.
func TestPipelineIsAnsweredAtTheEnd(t *testing.T) {
	d := start(t, options{grace: time.Hour})
	p := dial(t, d)
	if err := p.send("SET k "+strings.Repeat("v", 500_000), "MGET"+strings.Repeat(" k", 100)); err != nil {
		t.Fatal(err)
	}
	if got, err := p.reply(); got != "+OK" || err != nil {
		t.Fatal(got, err)
	}
	if _, err := p.in.Peek(1); err != nil { // the daemon has read the request
		t.Fatal(err)
	}
	read := make(chan int64)
	go func() {
		n, _ := io.Copy(io.Discard, p.in)
		read <- n
	}()
	d.finish(t)
	if n := <-read; n < 500_000*100 {
		t.Errorf("%d bytes of the replies were sent", n)
	}
}
