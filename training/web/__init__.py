"""The web page that shows the acupoints of a picture, and the HTTP interface behind it."""
