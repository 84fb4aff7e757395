// Starts Swagger UI. In a file of its own, because the Content-Security-Policy allows no script in the page.
const docs = document.getElementById("docs");

SwaggerUIBundle({
  url: docs.dataset.schema,
  domNode: docs,
  deepLinking: true,
  tryItOutEnabled: true,
  displayRequestDuration: true,
  // Who is logged in calls with their session; Django wants to see that this page of ours sends the request.
  requestInterceptor(request) {
    if (!["GET", "HEAD"].includes(request.method ?? "GET") && request.credentials !== "omit") {
      request.headers["X-CSRFToken"] = docs.dataset.csrf;
    }
    return request;
  },
});
