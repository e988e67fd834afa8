package main

import (
	"fmt"
	"strings"
)

// A command is one that clients may send.
type command struct {
	name string
	// arity is the number of arguments, the command's name included; the least number, negated, if
	// there may be more.
	arity int
	// first, last and step say which arguments are keys, as in the reply to COMMAND: last may count
	// from the end.
	first, last, step int
	flag              string // "write", "readonly" or "fast", as in Redis
	run               func(c *client, args [][]byte)
}

// maxName is the length of the longest command's name that is looked for.
const maxName = 32

// commands is filled by init, because some of them list it.
var (
	commands []command
	byName   = map[string]int{}
)

func init() {
	commands = []command{
		{"get", 2, 1, 1, 1, "readonly", get},
		{"set", -3, 1, 1, 1, "write", set},
		{"mget", -2, 1, -1, 1, "readonly", mget},
		{"mset", -3, 1, -1, 2, "write", mset},
		{"incr", 2, 1, 1, 1, "write", func(c *client, args [][]byte) { incrBy(c, args[1], 1) }},
		{"decr", 2, 1, 1, 1, "write", func(c *client, args [][]byte) { incrBy(c, args[1], -1) }},
		{"incrby", 3, 1, 1, 1, "write", incrby},
		{"decrby", 3, 1, 1, 1, "write", decrby},
		{"del", -2, 1, -1, 1, "write", del},
		{"exists", -2, 1, -1, 1, "readonly", exists},
		{"expire", -3, 1, 1, 1, "write", func(c *client, args [][]byte) { expireIn(c, args, 1000) }},
		{"pexpire", -3, 1, 1, 1, "write", func(c *client, args [][]byte) { expireIn(c, args, 1) }},
		{"persist", 2, 1, 1, 1, "write", persist},
		{"ttl", 2, 1, 1, 1, "readonly", func(c *client, args [][]byte) { ttl(c, args[1], 1000) }},
		{"pttl", 2, 1, 1, 1, "readonly", func(c *client, args [][]byte) { ttl(c, args[1], 1) }},
		{"scan", -2, 0, 0, 0, "readonly", scan},
		{"dbsize", 1, 0, 0, 0, "readonly", dbsize},
		{"flushall", -1, 0, 0, 0, "write", flushall},
		{"info", -1, 0, 0, 0, "readonly", info},
		{"memory", -2, 0, 0, 0, "readonly", memoryCommand},
		{"config", -2, 0, 0, 0, "readonly", config},
		{"command", -1, 0, 0, 0, "readonly", listCommands},
		{"ping", -1, 0, 0, 0, "fast", ping},
		{"echo", 2, 0, 0, 0, "fast", func(c *client, args [][]byte) { c.out = appendBulk(c.out, args[1]) }},
		{"quit", -1, 0, 0, 0, "fast", func(c *client, _ [][]byte) { c.ok(); c.done = true }},
	}
	for i, c := range commands {
		byName[c.name] = i
	}
}

// run runs a request and appends its reply, exactly one.
func (c *client) run(args [][]byte) {
	i, known := byName[string(c.lower(args[0]))]
	if !known {
		c.fail(fmt.Sprintf("ERR unknown command '%.128s'", args[0]))
		return
	}
	command := &commands[i]
	if n := len(args); n != command.arity && (command.arity > 0 || n < -command.arity) {
		c.wrongNumber(command.name)
		return
	}
	c.server.calls[i].Add(1)
	command.run(c, args)
}

// lower returns a name in lower case; the first bytes of one that is too long for a name.
func (c *client) lower(name []byte) []byte {
	n := copy(c.name[:], name)
	for i, b := range c.name[:n] {
		if 'A' <= b && b <= 'Z' {
			c.name[i] = b + 'a' - 'A'
		}
	}
	if n < len(name) {
		return nil
	}
	return c.name[:n]
}

func (c *client) wrongNumber(command string) {
	c.fail("ERR wrong number of arguments for '" + command + "' command")
}

const syntaxError = "ERR syntax error"

// is reports whether an argument is a word, in whatever case.
func is(arg []byte, word string) bool {
	return len(arg) == len(word) && strings.EqualFold(string(arg), word)
}

func ping(c *client, args [][]byte) {
	switch len(args) {
	case 1:
		c.out = append(c.out, "+PONG\r\n"...)
	case 2:
		c.out = appendBulk(c.out, args[1])
	default:
		c.wrongNumber("ping")
	}
}

// listCommands is COMMAND. Clients ask for it to find the keys among arguments; redis-cli asks for
// COMMAND DOCS, and takes an empty answer.
func listCommands(c *client, args [][]byte) {
	switch {
	case len(args) == 1:
		c.array(len(commands))
		for _, command := range commands {
			c.array(6)
			c.text(command.name)
			c.int(int64(command.arity))
			c.array(1)
			c.out = append(append(append(c.out, '+'), command.flag...), "\r\n"...)
			c.int(int64(command.first))
			c.int(int64(command.last))
			c.int(int64(command.step))
		}
	case is(args[1], "count"):
		c.int(int64(len(commands)))
	default:
		c.array(0)
	}
}
