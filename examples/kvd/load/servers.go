package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// errNotInstalled says that a server is left out.
var errNotInstalled = errors.New("redis-server is not installed (Debian package redis-server)")

// program returns kvd's program, which it builds if needed, and a function that removes it.
func (o options) program(ctx context.Context) (path string, remove func(), err error) {
	if o.kvd != "" {
		return o.kvd, func() {}, nil
	}
	dir, err := os.MkdirTemp("", "kvd")
	if err != nil {
		return "", nil, err
	}
	path = filepath.Join(dir, "kvd")
	build := exec.CommandContext(ctx, "go", "build", "-o", path, "github.com/slubd/slubd/examples/kvd")
	if out, err := build.CombinedOutput(); err != nil {
		return "", nil, errors.Join(fmt.Errorf("building kvd: %w\n%s", err, out), os.RemoveAll(dir))
	}
	return path, func() { os.RemoveAll(dir) }, nil
}

// A process is a server that runs.
type process struct {
	address string
	command *exec.Cmd
	out     *bufio.Reader
}

// start starts a server on the CPUs for servers.
func (o options) start(c *exec.Cmd) error {
	if o.onServerCPUs == nil {
		return c.Start()
	}
	return o.onServerCPUs(c.Start)
}

func startServer(ctx context.Context, o options, name, program string) (*process, error) {
	if name == "redis" {
		return startRedis(ctx, o)
	}
	c := exec.CommandContext(ctx, program, "-listen", "127.0.0.1:0", "-http", "", "-store", name)
	c.Env = append(os.Environ(), "GOGC="+o.gogc)
	c.Stderr = os.Stderr
	out, err := c.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := o.start(c); err != nil {
		return nil, err
	}
	p := &process{command: c, out: bufio.NewReader(out)}
	line, err := p.out.ReadString('\n')
	_, rest, found := strings.Cut(line, " on ")
	if err != nil || !found {
		return nil, errors.Join(fmt.Errorf("kvd says %q", line), err, p.stop())
	}
	p.address, _, _ = strings.Cut(rest, ",")
	return p, nil
}

// startRedis runs redis-server without its disk, as a cache has it.
func startRedis(ctx context.Context, o options) (*process, error) {
	path, err := exec.LookPath("redis-server")
	if err != nil {
		return nil, errNotInstalled
	}
	l, err := net.Listen("tcp", "127.0.0.1:0") // for a port that is free
	if err != nil {
		return nil, err
	}
	address := l.Addr().String()
	_, port, _ := net.SplitHostPort(address)
	if err := l.Close(); err != nil {
		return nil, err
	}
	c := exec.CommandContext(ctx, path, "--bind", "127.0.0.1", "--port", port, "--save", "", "--appendonly", "no")
	if err := o.start(c); err != nil {
		return nil, err
	}
	p := &process{address: address, command: c}
	for begin := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		conn, err := net.Dial("tcp", address)
		if err == nil {
			return p, conn.Close()
		}
		if time.Since(begin) > time.Minute {
			return nil, errors.Join(err, p.stop())
		}
	}
}

// stop ends the server and waits for it.
func (p *process) stop() error {
	if err := p.command.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	if p.out != nil {
		for { // what it prints must not keep it from ending
			if _, err := p.out.ReadString('\n'); err != nil {
				break
			}
		}
	}
	return p.command.Wait()
}
