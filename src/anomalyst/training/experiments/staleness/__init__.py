"""Workers that wait for each other or do not: BSP, SSP and ASP, at a server and without one."""
