// Package users are the people of the lab: they place orders through the director at a rate that follows a
// compressed day, whether the shop answers or not (open loop), and remember what they were given.
package users
