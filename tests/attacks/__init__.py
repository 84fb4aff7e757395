"""What outsiders and customers did to a running service to stop it, each within small bounds and on the loopback."""
