package slub

import (
	"fmt"
	"os"
	"strconv"
	"strings"
)

// A value of the environment that is not understood counts as not set, and standard error says so:
// the program starts, and its operator sees that the setting is not in force. Only SLUBD_HARDENED
// counts as 1 then: hardened caches are slow, but a process that is not hardened although it was
// meant to be is not safe.

// readSwitch returns what a variable says that switches something on, which is off by default.
func readSwitch(name string) bool {
	on, err := parseSwitch(os.Getenv(name))
	if err != nil {
		warnIgnored(name, err)
	}
	return on
}

// readHardened returns what SLUBD_HARDENED says.
func readHardened() bool {
	const name = "SLUBD_HARDENED"
	on, err := parseSwitch(os.Getenv(name))
	if err != nil {
		fmt.Fprintf(os.Stderr, "slubd: %s counts as 1: %v\n", name, err)
	}
	return on || err != nil
}

// readBytes returns the number of bytes that a variable says, 0 for none.
func readBytes(name string, automatic int64) int64 {
	n, err := parseBytes(os.Getenv(name), automatic)
	if err != nil {
		warnIgnored(name, err)
	}
	return n
}

// warnIgnored says on standard error that a variable is ignored, and why.
func warnIgnored(name string, why error) {
	fmt.Fprintf(os.Stderr, "slubd: %s is ignored: %v\n", name, why)
}

// parseSwitch returns whether a value means on. With an error it is false.
func parseSwitch(value string) (on bool, err error) {
	switch strings.ToLower(value) {
	case "1", "on", "true", "yes":
		return true, nil
	case "", "0", "off", "false", "no":
		return false, nil
	}
	return false, fmt.Errorf("%q is neither 1, on, true or yes nor 0, off, false or no", value)
}

// parseBytes returns the number of bytes that a value means, 0 for off. It is automatic for an
// empty value, and with an error.
func parseBytes(value string, automatic int64) (int64, error) {
	switch strings.ToLower(value) {
	case "":
		return automatic, nil
	case "off":
		return 0, nil
	}
	n, err := strconv.ParseInt(value, 10, 64)
	if err != nil || n < 0 {
		return automatic, fmt.Errorf("%q is neither a number of bytes, such as 65536, nor off", value)
	}
	return n, nil
}
